//! Shell completions, printed by each binary for itself.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

/// Writes the completion script of a command line.
///
/// # Errors
/// The writer's.
pub fn completions<C: CommandFactory>(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new(); // clap_complete panics where a writer fails, a closed pipe too
    clap_complete::generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    #[command(name = "countersign")]
    struct Arguments {
        /// A flag.
        #[arg(long)]
        admin_socket: String,
    }

    #[test]
    fn each_shell_gets_its_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            completions::<Arguments>(shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("countersign"), "{shell}");
            assert!(script.contains("admin-socket"), "{shell}");
        }
    }
}
