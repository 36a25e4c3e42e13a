//! Commands of ours, as they are printed: whoever pastes one reaches the control plane that was asked.
//!
//! Every command that tells what mends something is written here. A socket that was named on the command
//! line is named again; one of the environment, or of a usual place, is found again as it was.

use crate::output::shell_word;
use crate::socket::Named;

/// The name of this program, with what stands behind it.
const PROGRAM: &str = "countersign ";

/// How this program was called, as far as its commands repeat it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Called {
    /// The socket that was named, as a word of a shell.
    socket: Option<String>,
    /// The verbs that take one.
    asking: Vec<String>,
}

impl Called {
    /// With this socket, where the verbs in `asking` take one.
    pub(crate) fn new(named: &Named, asking: Vec<String>) -> Self {
        let socket = named.path().map(|path| shell_word(&path.to_string_lossy()));
        Self { socket, asking }
    }

    /// The command of a verb with its arguments.
    pub(crate) fn command(&self, verb: &str) -> String {
        self.completed(&format!("{PROGRAM}{verb}"))
    }

    /// A text that names commands, such as a remedy of the control plane: each of them names the socket.
    pub(crate) fn completed(&self, text: &str) -> String {
        let Some(socket) = &self.socket else {
            return text.to_owned();
        };
        let mut completed = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(PROGRAM) {
            let (before, command) = rest.split_at(at);
            let (program, verb) = command.split_at(PROGRAM.len());
            completed.push_str(before);
            completed.push_str(program);
            if begins_a_word(before) && self.asks(verb) {
                completed.push_str(&format!("--admin-socket {socket} "));
            }
            rest = verb;
        }
        completed.push_str(rest);
        completed
    }

    fn asks(&self, verb: &str) -> bool {
        let end = verb.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let verb = &verb[..end.unwrap_or(verb.len())];
        self.asking.iter().any(|it| it == verb)
    }
}

/// Whether what follows is a word of its own, and not the end of a path or another name.
fn begins_a_word(before: &str) -> bool {
    let last = before.chars().next_back();
    last.is_none_or(|c| !c.is_alphanumeric() && !"-/_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(socket: Option<&str>) -> Called {
        let named = Named::new(socket.map(Into::into));
        Called::new(&named, vec!["ca".to_owned(), "token".to_owned()])
    }

    #[test]
    fn a_command_names_the_socket_that_was_named() {
        let plain = called(None);
        assert_eq!(plain.command("ca status"), "countersign ca status");
        let named = called(Some("/tmp/my cp/admin.sock"));
        assert_eq!(
            named.command("ca status"),
            "countersign --admin-socket '/tmp/my cp/admin.sock' ca status"
        );
    }

    #[test]
    fn every_command_of_a_text_names_it() {
        let named = called(Some("/x"));
        for (text, expected) in [
            (
                "see `countersign ca status`, or run countersign token create",
                "see `countersign --admin-socket /x ca status`, or run countersign \
                 --admin-socket /x token create",
            ),
            // No socket is theirs.
            ("countersign audit verify", "countersign audit verify"),
            (
                "the countersign log, countersign-sidecar status",
                "the countersign log, countersign-sidecar status",
            ),
            (
                "ls /etc/countersign ca; my-countersign ca",
                "ls /etc/countersign ca; my-countersign ca",
            ),
            ("countersign ", "countersign "),
        ] {
            assert_eq!(named.completed(text), expected);
            assert_eq!(called(None).completed(text), text);
        }
    }
}
