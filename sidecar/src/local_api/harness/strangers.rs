//! Connections of other users, as somebody with subordinate uids makes them.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::net::UnixStream;

/// Most connections of one uid that fit one message with descriptors.
const MAX_EACH: usize = 32;
/// The kernel notes the effective ids of whoever connects; the connection itself may then be ours.
const SCRIPT: &str = "import os, socket, sys
out = socket.socket(fileno=0)
first, end, each = map(int, sys.argv[2:])
for uid in range(first, end):
    os.setegid(uid)
    os.seteuid(uid)
    made = [socket.socket(socket.AF_UNIX) for _ in range(each)]
    for one in made:
        one.connect(sys.argv[1])
    os.seteuid(0)
    os.setegid(0)
    socket.send_fds(out, [b'x'], [one.fileno() for one in made])
    for one in made:
        one.close()
";

/// So many connections of each of these uids, in that order. It needs root, as a test of uids does.
pub(crate) async fn strangers(socket: &Path, uids: Range<u32>, each: usize) -> Vec<UnixStream> {
    assert!(each <= MAX_EACH);
    let folder = socket.parent().unwrap();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (ours, theirs) = StdStream::pair().unwrap();
    let mut maker = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(socket)
        .args([uids.start, uids.end].map(|uid| uid.to_string()))
        .arg(each.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    let made = tokio::task::spawn_blocking(move || {
        let made: Vec<_> = uids.flat_map(|_| receive(&ours)).collect();
        assert!(maker.wait().unwrap().success());
        made
    });
    let made = super::within(made).await.unwrap();
    made.into_iter()
        .map(UnixStream::from_std)
        .map(Result::unwrap)
        .collect()
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
