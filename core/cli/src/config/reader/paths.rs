//! Paths: files, folders and sockets.
//!
//! A path is taken as it stands. What only a shell, a service manager or a URL library would expand
//! is refused, for it would become a folder of that very name.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::{Bounds, Key, Reader};

/// Longest path of a Unix socket, in bytes: what `sockaddr_un` holds, and its NUL.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

impl Reader {
    /// What a relative path means: it begins at the folder of the file.
    pub fn beside(&self, path: &str) -> PathBuf {
        let folder = self.file.parent().map(Path::to_owned).unwrap_or_default();
        folder.join(path)
    }

    /// A path, relative to the folder of the file.
    pub fn path(&mut self, key: &Key, default: Option<&str>) -> Option<PathBuf> {
        let default = default.map(|default| self.beside(default));
        self.path_where(key, "path", default, |_| Ok(()))
    }

    /// A path that has to be written; `what` says which.
    pub fn required_path(&mut self, key: &Key, what: &str) -> Option<PathBuf> {
        if !self.contains(key) {
            self.mistake(key, "is missing", format!("write {what}"));
        }
        let path = self.path(key, None);
        if let Some(setting) = self.settings.last_mut() {
            setting.is_required = true;
        }
        path
    }

    /// The path of a Unix socket.
    pub fn socket(&mut self, key: &Key, default: PathBuf) -> Option<PathBuf> {
        let path = self.path_where(key, "path of a socket", Some(default), |text| match text {
            _ if text.starts_with('@') => {
                Err("is the name of an abstract socket, which has no owner and no mode".to_owned())
            }
            _ if text.ends_with('/') => Err("is a folder".to_owned()),
            _ => Ok(()),
        })?;
        self.demand_short(key, &path);
        Some(path)
    }

    /// A folder in which a socket of this name will be.
    pub fn folder_of_socket(&mut self, key: &Key, default: &str, socket: &str) -> Option<PathBuf> {
        let folder = self.path(key, Some(default))?;
        self.demand_short(key, &folder.join(socket));
        Some(folder)
    }

    fn path_where(
        &mut self,
        key: &Key,
        kind: &'static str,
        default: Option<PathBuf>,
        check: impl FnOnce(&str) -> Result<(), String>,
    ) -> Option<PathBuf> {
        let is_written = self.contains(key);
        let written = self.parsed(key.name, REMEDY, |text| {
            check_plain(text)?;
            check(text)?;
            Ok(text.to_owned())
        });
        let written = written.map(|text| self.beside(&text));
        let whole = |path: &PathBuf| self.whole(path).into();
        let shown_default = default.as_ref().map(whole);
        let value = written.or(default.filter(|_| !is_written));
        let shown = value.as_ref().map(whole);
        self.note(key, kind, shown, shown_default, Bounds::Any);
        value
    }

    /// A path as it is shown: from `/` on, except in a survey, which has no folder.
    fn whole(&self, path: &Path) -> String {
        let absolute = std::path::absolute(path).ok().filter(|_| !self.is_survey);
        let plain: PathBuf = absolute.as_deref().unwrap_or(path).components().collect();
        plain.display().to_string()
    }

    fn demand_short(&mut self, key: &Key, socket: &Path) {
        let bytes = socket.as_os_str().as_bytes().len();
        if bytes > MAX_SOCKET_PATH_BYTES {
            let problem = format!(
                "the socket {} has a path of {bytes} bytes, more than the {MAX_SOCKET_PATH_BYTES} \
                 that a Unix socket can have",
                socket.display()
            );
            self.mistake(key, problem, "write a shorter path, such as one under /run");
        }
    }
}

/// Whether a text is a path, and not what something else would make one of. A variable or a
/// specifier counts wherever it stands: `/run/$USER/x` and `/run/%i/x` as `%t/x`.
fn check_plain(text: &str) -> Result<(), String> {
    let problem = match text.as_bytes() {
        [] => "is empty",
        bytes if bytes.contains(&0) => "contains a NUL",
        [b'~', ..] => "begins with ~, which only a shell expands",
        [b'$', ..] => "begins with a variable, and none is expanded",
        [b'%', ..] => "begins with a specifier, and none is expanded",
        bytes if expands(bytes, b'$') => "contains a variable, and none is expanded",
        bytes if expands(bytes, b'%') => "contains a specifier, and none is expanded",
        _ if is_url(text) => "is a URL, not a path",
        _ => return Ok(()),
    };
    Err(problem.to_owned())
}

/// Whether a name or a brace stands behind the sign.
fn expands(text: &[u8], sign: u8) -> bool {
    let mut pairs = text.array_windows();
    pairs.any(|[at, next]| *at == sign && (next.is_ascii_alphabetic() || b"{_".contains(next)))
}

/// `unix:///run/x`, and what else begins with a scheme: `unix:x`, `file:/x`.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let is_known = ["unix", "unix-abstract", "file"].contains(&scheme);
    !scheme.is_empty() && scheme.chars().all(is_scheme) && (is_known || rest.starts_with('/'))
}

const REMEDY: &str = "write a path as it stands on the disk, such as \"/run/countersign/x\"; a \
     relative one begins at the folder of this file";
