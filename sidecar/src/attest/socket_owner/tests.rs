use std::io::{BufRead, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::*;

const STRANGER: u32 = 54_321;

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A child of another uid; needs root, as the sandbox of the project's tests has it.
fn stranger(program: &str, arguments: &[&str]) -> Child {
    Command::new(program)
        .args(arguments)
        .uid(STRANGER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting a process of another uid needs root")
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

async fn owner_of_client(accepted: &TcpStream) -> Option<u32> {
    let local = accepted.local_addr().unwrap();
    let remote = accepted.peer_addr().unwrap();
    owner_of_connection(local, remote).await.unwrap()
}

#[tokio::test]
async fn own_connections_are_our_own() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(
            owner_of_client(&accepted).await,
            Some(own_uid()),
            "{address}"
        );
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(
            owner_of_client(&accepted).await,
            Some(own_uid()),
            "{address}"
        );
    }
}

#[tokio::test]
async fn a_dual_stack_listener_sees_its_client() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (accepted, remote) = listener.accept().unwrap();
    assert!(remote.is_ipv6(), "a mapped address");
    assert_eq!(owner_of_client(&accepted).await, Some(own_uid()));
}

#[tokio::test]
async fn another_uid_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -r");
    let child = stranger("bash", &["-c", &script]);
    let (accepted, _) = listener.accept().unwrap();
    assert_eq!(owner_of_client(&accepted).await, Some(STRANGER));
    end(child);
}

#[tokio::test]
async fn a_closed_socket_is_not_roots() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    drop(client);
    assert_eq!(owner_of_client(&accepted).await, None);
}

#[tokio::test]
async fn a_listener_on_the_clients_port_is_not_its_owner() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    assert_eq!(owner_of_connection(nobody, address).await.unwrap(), None);
}

#[tokio::test]
async fn listeners_of_every_kind_are_found() {
    for bound in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let listener = TcpListener::bind(bound).unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let owner = owner_of_listener(address).await.unwrap();
        assert_eq!(owner, Some(own_uid()), "{bound}");
        drop(listener);
        assert_eq!(owner_of_listener(address).await.unwrap(), None, "{bound}");
    }
}

#[tokio::test]
async fn another_address_or_family_is_no_listener_of_ours() {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(owner_of_listener(elsewhere).await.unwrap(), None);
    let other_family = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    assert_eq!(owner_of_listener(other_family).await.unwrap(), None);
}

#[tokio::test]
async fn a_listener_of_another_uid_is_told_apart() {
    let script = "import socket,sys; s=socket.create_server(('127.0.0.1',0)); \
                  print(s.getsockname()[1],flush=True); sys.stdin.read()";
    let mut child = stranger("python3", &["-c", script]);
    let mut port = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut port)
        .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap()));
    assert_eq!(owner_of_listener(address).await.unwrap(), Some(STRANGER));
    end(child);
}

#[test]
fn junk_answers_are_malformed() {
    for junk in [&[][..], &[0; 8], &[0xff; 64], &[0; 16]] {
        assert!(matches!(
            read_answer(junk),
            Err(DiagnosticsError::Malformed)
        ));
    }
}

proptest::proptest! {
    #[test]
    fn no_answer_is_beyond_reading(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
        let _ = read_answer(&bytes);
    }
}

mod uid_alone {
    use countersign_model::SelectorSet;

    use super::*;
    use crate::local_api::harness::entitlement;

    #[test]
    fn satisfies_a_uid_selector_only() {
        let uid = SelectorSet::new([Selector::UnixUid(7)]).unwrap();
        let both = SelectorSet::new([Selector::UnixUid(7), Selector::UnixGid(7)]).unwrap();
        let (uid, both) = (entitlement("/a", uid, 1), entitlement("/b", both, 2));
        assert!(admits(&uid, 7) && !admits(&uid, 8));
        assert!(!admits(&both, 7));
        assert!(is_admissible_by_uid(&uid) && !is_admissible_by_uid(&both));
    }
}
