//! What a command prints for whoever asked: one rule for every binary.

use std::io::{self, Write};

use crate::{Exit, Failure};

/// Prints a result to stdout. False once nobody reads it any more, as behind `| head`: who asked
/// has what it wanted, and how the command ends does not depend on it.
///
/// # Errors
/// Stdout takes nothing for another reason, such as a full disk.
pub fn print(result: &[u8]) -> Result<bool, Failure> {
    print_to(&mut io::stdout().lock(), result)
}

/// Prints a result as lines of text, by the rule of [`print()`].
///
/// # Errors
/// As [`print()`].
pub fn print_text(text: &str) -> Result<(), Failure> {
    print(format!("{text}\n").as_bytes()).map(drop)
}

fn print_to(out: &mut impl Write, result: &[u8]) -> Result<bool, Failure> {
    match out.write_all(result).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(
            Exit::Unreachable,
            "output_failed",
            format!("cannot write the result: {error}"),
            "free the disk or pipe that stdout goes to",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn reader_that_went_away_is_no_failure() {
        let printed = print_to(&mut Broken(io::ErrorKind::BrokenPipe), b"x");
        assert_eq!(printed, Ok(false));
        assert_eq!(print_to(&mut Vec::new(), b"x"), Ok(true));
        let full = print_to(&mut Broken(io::ErrorKind::StorageFull), b"x").unwrap_err();
        assert_eq!(
            (full.exit, &*full.code),
            (Exit::Unreachable, "output_failed")
        );
    }
}
