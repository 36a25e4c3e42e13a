//! What a client sends to PostgreSQL, as far as it must be read to know a `COMMIT`: pure.
//!
//! A message is a byte of its kind, four bytes of length, which count themselves, and a body; the first
//! one has no kind. Two kinds of statement commit: a query by itself, and one that was prepared, bound
//! to a portal and executed. A transaction that none of these ends, as that of a lone statement, is not
//! seen; and nothing of what TLS encrypts.

use std::collections::BTreeSet;

/// Longest message that is waited for; a longer one, which no test sends, ends the reading.
const MAX_MESSAGE: usize = 64 << 20;
/// First messages after which another first one comes, unless TLS does.
const ASK_FOR_TLS: u32 = 80_877_103;
const ASK_FOR_GSS: u32 = 80_877_104;
/// First byte of TLS.
const TLS: u8 = 22;

/// A part of what a client sent, which is forwarded as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// All of it.
    pub(super) bytes: Vec<u8>,
    /// Whether it has the server commit.
    pub(super) commits: bool,
}

/// Takes apart what one client sends.
#[derive(Debug, Default)]
pub(super) struct Reader {
    unread: Vec<u8>,
    phase: Phase,
    /// Statements that commit, by their names, and portals that were made of those.
    statements: BTreeSet<Vec<u8>>,
    portals: BTreeSet<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Start,
    Messages,
    /// It is not understood: nothing of it is held back.
    Opaque,
}

impl Reader {
    /// The messages that are complete with these bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.unread.extend(bytes);
        std::iter::from_fn(|| self.next()).collect()
    }

    fn next(&mut self) -> Option<Message> {
        if self.phase == Phase::Start && self.unread.first() == Some(&TLS) {
            self.phase = Phase::Opaque;
        }
        let length = match self.phase {
            Phase::Opaque => self.unread.len(),
            Phase::Start => length(&self.unread)?,
            Phase::Messages => length(self.unread.get(1..)?)?.checked_add(1)?,
        };
        if length > MAX_MESSAGE {
            self.phase = Phase::Opaque;
            return self.next();
        }
        if length == 0 || self.unread.len() < length {
            return None;
        }
        let bytes: Vec<_> = self.unread.drain(..length).collect();
        let commits = self.commits(&bytes);
        Some(Message { bytes, commits })
    }

    fn commits(&mut self, message: &[u8]) -> bool {
        match (self.phase, message) {
            (Phase::Start, [_, _, _, _, body @ ..]) => {
                if !asks_for_another_first(body) {
                    self.phase = Phase::Messages;
                }
                false
            }
            (Phase::Messages, [kind, _, _, _, _, body @ ..]) => self.has_it_commit(*kind, body),
            _ => false,
        }
    }

    fn has_it_commit(&mut self, kind: u8, body: &[u8]) -> bool {
        let mut texts = body.split(|&byte| byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        match kind {
            b'Q' => is_commit(text()),
            b'P' => {
                let name = text().to_vec();
                note(&mut self.statements, name, is_commit(text()));
                false
            }
            b'B' => {
                let portal = text().to_vec();
                note(&mut self.portals, portal, self.statements.contains(text()));
                false
            }
            b'E' => self.portals.contains(text()),
            _ => false,
        }
    }
}

/// The four bytes of a length.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?);
    usize::try_from(length).ok()
}

fn asks_for_another_first(body: &[u8]) -> bool {
    let code = body.first_chunk().map(|code| u32::from_be_bytes(*code));
    code.is_some_and(|code| [ASK_FOR_TLS, ASK_FOR_GSS].contains(&code))
}

/// What a name stands for is what it was given last.
fn note(names: &mut BTreeSet<Vec<u8>>, name: Vec<u8>, commits: bool) {
    if commits {
        names.insert(name);
    } else {
        names.remove(&name);
    }
}

/// Whether one of the statements of a query ends a transaction. A semicolon within a string is taken for
/// one between statements.
fn is_commit(query: &[u8]) -> bool {
    let query = String::from_utf8_lossy(query);
    let first_word = |statement: &str| {
        let word = statement.trim_start().split(|c: char| !c.is_alphanumeric());
        word.into_iter()
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    let mut words = query.split(';').map(first_word);
    words.any(|word| ["commit", "end"].contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, body: &str) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [kind.as_bytes(), &length, body.as_bytes()].concat()
    }

    fn first(code: u32) -> Vec<u8> {
        let body = code.to_be_bytes();
        [&8_u32.to_be_bytes()[..], &body].concat()
    }

    /// A reader behind the first message.
    fn started() -> Reader {
        let mut reader = Reader::default();
        let version = 3 << 16;
        for first in [first(ASK_FOR_TLS), first(version)] {
            let commits = false;
            assert_eq!(
                reader.read(&first),
                [Message {
                    bytes: first,
                    commits
                }]
            );
        }
        reader
    }

    fn commits(reader: &mut Reader, kind: &str, body: &str) -> bool {
        let bytes = message(kind, body);
        let read = reader.read(&bytes);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].bytes, bytes);
        read[0].commits
    }

    #[test]
    fn commit_is_known_among_queries() {
        for (text, is_commit) in [
            ("COMMIT", true),
            ("commit;", true),
            (" end ", true),
            ("insert into t values (1); Commit work", true),
            ("select 'commit'", false),
            ("committed", false),
            ("ROLLBACK", false),
            ("", false),
        ] {
            assert_eq!(
                commits(&mut started(), "Q", &format!("{text}\0")),
                is_commit,
                "{text}"
            );
        }
        assert!(!commits(&mut started(), "p", "COMMIT\0"), "a password");
    }

    #[test]
    fn commit_is_known_by_its_portal() {
        let mut reader = started();
        for (kind, body, is_commit) in [
            ("P", "s1\0COMMIT\0\0\0", false),
            ("P", "\0select 1\0\0\0", false),
            ("B", "p1\0s1\0\0\0\0\0\0\0", false),
            ("B", "\0\0\0\0\0\0\0\0", false),
            ("E", "\0\0\0\0\0", false),
            ("E", "p1\0\0\0\0\0", true),
            ("B", "p1\0\0\0\0\0\0\0\0", false),
            ("E", "p1\0\0\0\0\0", false),
            ("S", "", false),
        ] {
            assert_eq!(commits(&mut reader, kind, body), is_commit, "{kind} {body}");
        }
    }

    #[test]
    fn messages_are_whole_whatever_is_read_at_once() {
        let sent = [message("Q", "begin\0"), message("Q", "commit\0")].concat();
        let mut reader = started();
        let mut read = Vec::new();
        for byte in &sent {
            read.extend(reader.read(std::slice::from_ref(byte)));
        }
        let both = started().read(&sent);
        assert_eq!(read, both);
        let commits: Vec<_> = both.iter().map(|message| message.commits).collect();
        assert_eq!(commits, [false, true]);
    }

    #[test]
    fn what_is_not_understood_is_passed_on() {
        let mut encrypted = Reader::default();
        assert_eq!(encrypted.read(&first(ASK_FOR_TLS)).len(), 1);
        let long = [b"Q".as_slice(), &u32::MAX.to_be_bytes(), b"commit\0"].concat();
        for (mut reader, bytes) in [(encrypted, b"\x16\x03\x01".to_vec()), (started(), long)] {
            for _ in 0..2 {
                let (bytes, commits) = (bytes.clone(), false);
                assert_eq!(reader.read(&bytes), [Message { bytes, commits }]);
            }
        }
    }
}
