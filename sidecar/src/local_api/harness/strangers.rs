//! Connections of other users, as somebody with subordinate uids makes them. It needs root, as a test of
//! uids does.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::net::UnixStream;

use crate::forks;

/// Most connections of one uid that fit one message with descriptors.
const MAX_EACH: usize = 32;
/// The kernel notes the effective ids of whoever connects; the connection itself may then be ours. A
/// process of each user lives on, for whoever looks at what it runs.
const SCRIPT: &str = "import os, socket, sys
out = socket.socket(fileno=0)
first, end, each = map(int, sys.argv[2:5])
for uid in range(first, end):
    is_sent, sent = os.pipe()
    if os.fork() == 0:
        os.setegid(int(sys.argv[5] or uid))
        os.seteuid(uid)
        made = [socket.socket(socket.AF_UNIX) for _ in range(each)]
        for one in made:
            one.connect(sys.argv[1])
        socket.send_fds(out, [b'x'], [one.fileno() for one in made])
        os.write(sent, b'x')
        out.recv(1)
        os._exit(0)
    os.read(is_sent, 1)
    os.close(is_sent)
    os.close(sent)
for uid in range(first, end):
    assert os.wait()[1] == 0
";

/// Users that connected, and the process of each.
pub(crate) struct Crowd {
    pub(crate) connections: Vec<UnixStream>,
    /// Their processes end with it.
    ours: StdStream,
    maker: Child,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.ours.shutdown(Shutdown::Both);
        let _ = self.maker.wait();
    }
}

/// What all of a [`Crowd`] run.
pub(crate) fn program() -> String {
    let script = "import os; print(os.readlink('/proc/self/exe'), end='')";
    let told = forks::output(Command::new("python3").args(["-c", script]));
    String::from_utf8(told.unwrap().stdout).unwrap()
}

/// So many connections of each of these uids, in that order, each with a gid of its own.
pub(crate) async fn strangers(socket: &Path, uids: Range<u32>, each: usize) -> Vec<UnixStream> {
    let mut crowd = crowd(socket, uids, None, each).await;
    std::mem::take(&mut crowd.connections)
}

/// The same, while their processes live, and all with this gid where there is one.
pub(crate) async fn crowd(socket: &Path, uids: Range<u32>, gid: Option<u32>, each: usize) -> Crowd {
    assert!(each <= MAX_EACH);
    let folder = socket.parent().unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (ours, theirs) = StdStream::pair().unwrap();
    let mut command = Command::new("python3");
    command
        .args(["-c", SCRIPT])
        .arg(socket)
        .args([uids.start, uids.end].map(|uid| uid.to_string()))
        .arg(each.to_string())
        .arg(gid.map(|gid| gid.to_string()).unwrap_or_default())
        .stdin(Stdio::from(OwnedFd::from(theirs)));
    let maker = forks::spawn(&mut command).unwrap();
    // It has the other end of the pair.
    drop(command);
    let made = tokio::task::spawn_blocking(move || {
        let made: Vec<_> = uids.flat_map(|_| receive(&ours)).collect();
        (made, ours)
    });
    let (made, ours) = super::within(made).await.unwrap();
    let made = made.into_iter().map(UnixStream::from_std);
    Crowd {
        connections: made.map(Result::unwrap).collect(),
        ours,
        maker,
    }
}

fn receive(from: &StdStream) -> Vec<StdStream> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_EACH))];
    let mut descriptors = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(from, &mut bytes, &mut descriptors, RecvFlags::empty()).unwrap();
    let mut made = Vec::new();
    for message in descriptors.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            made.extend(descriptors.map(StdStream::from));
        }
    }
    for one in &made {
        one.set_nonblocking(true).unwrap();
    }
    made
}
