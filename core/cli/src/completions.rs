//! Shell completions, printed by each binary for itself.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{Exit, Failure, print};

/// Prints the completion script of a command line.
///
/// # Errors
/// As [`print()`].
pub fn completions<C: CommandFactory>(shell: Shell) -> Result<Exit, Failure> {
    print(&script::<C>(shell))?;
    Ok(Exit::Yes)
}

fn script<C: CommandFactory>(shell: Shell) -> Vec<u8> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new(); // clap_complete panics where a writer fails, a closed pipe too
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
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
            let script = String::from_utf8(script::<Arguments>(shell)).unwrap();
            assert!(script.contains("countersign"), "{shell}");
            assert!(script.contains("admin-socket"), "{shell}");
        }
    }
}
