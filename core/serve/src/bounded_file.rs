//! A file of which no more is read than it may have.
//!
//! What is measured first and read afterwards may have grown in between, so the reading itself is bounded. A
//! file that a daemon keeps for itself is a regular file and never a link: what a link leads to was put there by
//! somebody else, and a pipe would hold the reader up.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use zeroize::Zeroizing;

/// A file that this daemon keeps, of at most `most` bytes; `None` where there is none.
///
/// # Errors
/// It has more bytes, is a link or another thing than a file, or the kernel does not give it.
pub fn read_own(path: &Path, most: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("flags of open fit an int");
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            let problem = "it is a symbolic link; put the file itself in its place";
            return Err(io::Error::new(error.kind(), problem));
        }
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    bounded(file, most).map(Some)
}

/// A file that an operator names, of at most `most` bytes. It may be a link.
///
/// # Errors
/// It has more bytes, or the kernel does not give it.
pub fn read(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    bounded(File::open(path)?, most)
}

/// Reads at once into a place that is large enough as far as the length is known: a secret that grows leaves
/// copies behind.
fn bounded(file: File, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let expected = file.metadata()?.len().min(most) + 1;
    let expected = usize::try_from(expected).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected));
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let problem = format!("it has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(read_own(&path, 4).unwrap().is_none());
        fs::write(&path, "four").unwrap();
        assert_eq!(**read_own(&path, 4).unwrap().unwrap(), *b"four");
        assert_eq!(**read(&path, 4).unwrap(), *b"four");
        for refused in [
            read_own(&path, 3).map(drop).unwrap_err(),
            read(&path, 3).map(drop).unwrap_err(),
        ] {
            assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
            assert_eq!(refused.to_string(), "it has more than 3 bytes");
        }
    }

    /// Its length is 0 however much it gives.
    #[test]
    fn file_without_a_length_is_bounded_too() {
        let endless = Path::new("/dev/zero");
        let refused = read(endless, 1_000).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn own_file_is_no_link_and_no_pipe() {
        let folder = tempfile::tempdir().unwrap();
        let [target, link, pipe] = ["target", "link", "pipe"].map(|it| folder.path().join(it));
        fs::write(&target, "theirs").unwrap();
        symlink(&target, &link).unwrap();
        let refused = read_own(&link, 64).unwrap_err();
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        assert_eq!(**read(&link, 64).unwrap(), *b"theirs");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let refused = read_own(&pipe, 64).unwrap_err();
        assert!(refused.to_string().contains("no regular file"), "{refused}");
    }
}
