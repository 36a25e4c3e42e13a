//! Man pages, written by each binary for itself: one for the program and one for each of its verbs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::{Exit, Failure};

/// Commands of users.
pub const COMMANDS: &str = "1";
/// Daemons and tools of administrators.
pub const DAEMONS: &str = "8";
/// What the pages are a part of.
const MANUAL: &str = "Countersign";
/// How a help text begins its examples.
const EXAMPLES: &[&str] = &["Examples:\n", "Example:\n"];

/// The arguments of a verb that writes man pages.
#[derive(Args, Debug)]
pub struct ManPages {
    /// The folder that the pages are written to; it is there already
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl ManPages {
    /// Writes the pages of a command line, of this section of the manual. What has their names is
    /// replaced.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write<C: CommandFactory>(&self, section: &str) -> Result<Exit, Failure> {
        for (name, page) in pages(C::command(), section) {
            let path = self.dir.join(name);
            fs::write(&path, page).map_err(|error| unwritable(&path, &error))?;
        }
        Ok(Exit::Yes)
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    let remedy = "name a folder that is there and that you may write";
    Failure::new(Exit::Usage, "man_unwritable", message, remedy)
}

/// The pages of a command and all that is below it, each with its file's name.
fn pages(command: clap::Command, section: &str) -> Vec<(String, Vec<u8>)> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let version = command.get_version().unwrap_or_default();
    let source = format!("{} {version}", command.get_name());
    let mut pages = Vec::new();
    let mut ahead = vec![command];
    while let Some(command) = ahead.pop() {
        let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        ahead.extend(shown.cloned());
        pages.push(page(command, section, &source));
    }
    pages
}

fn page(command: clap::Command, section: &str, source: &str) -> (String, Vec<u8>) {
    // Examples are lines: filled as text, which is what the library does, they run into each other.
    let examples = command.get_after_help().map(ToString::to_string);
    let has_options = command.get_arguments().any(|option| !option.is_hide_set());
    let has_verbs = command.get_subcommands().any(|verb| !verb.is_hide_set());
    let man = Man::new(command);
    let man = man.section(section).source(source).manual(MANUAL);
    let name = man.get_filename();
    let mut page = Vec::new();
    let written = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| man.render_synopsis_section(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| match has_options {
            true => man.render_options_section(&mut page),
            false => Ok(()),
        })
        .and_then(|()| match has_verbs {
            true => man.render_subcommands_section(&mut page),
            false => Ok(()),
        })
        .and_then(|()| match &examples {
            Some(text) => render_examples(text, &mut page),
            None => Ok(()),
        });
    written.expect("memory takes every write");
    (name, page)
}

/// As they stand, line by line.
fn render_examples(text: &str, page: &mut Vec<u8>) -> io::Result<()> {
    let begun = EXAMPLES.iter().find_map(|word| text.strip_prefix(word));
    let heading = begun.map_or("NOTES", |_| "EXAMPLES");
    let mut roff = Roff::default();
    roff.control("SH", [heading]);
    roff.control("nf", []);
    for line in begun.unwrap_or(text).lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.to_writer(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does things.
    #[derive(clap::Parser)]
    #[command(name = "program", version)]
    struct Arguments {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(clap::Subcommand)]
    enum Verb {
        /// Does one thing
        #[command(after_help = "Examples:\n  program one --flag a\n  program one -- '.b'")]
        One {
            /// A flag
            #[arg(long)]
            flag: Option<String>,
        },
        /// Not for everybody
        #[command(hide = true)]
        Hidden,
    }

    #[test]
    fn each_verb_that_is_shown_has_a_page() {
        let mut names: Vec<_> = pages(Arguments::command(), DAEMONS)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        names.sort();
        assert_eq!(names, ["program-one.8", "program.8"]);
    }

    #[test]
    fn examples_keep_their_lines() {
        let pages = pages(Arguments::command(), COMMANDS);
        let (_, page) = pages
            .iter()
            .find(|(name, _)| name == "program-one.1")
            .unwrap();
        let page = String::from_utf8(page.clone()).unwrap();
        let (_, examples) = page.split_once(".SH EXAMPLES\n.nf\n").unwrap();
        let lines: Vec<_> = examples.lines().collect();
        assert_eq!(lines[0], "  program one \\-\\-flag a");
        assert_eq!(lines[1], "  program one \\-\\- \\*(Aq.b\\*(Aq");
        assert_eq!(lines[2], ".fi");
        assert!(page.contains("\\-\\-flag"), "{page}");
    }

    #[test]
    fn missing_folder_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("missing");
        let refused = ManPages { dir }.write::<Arguments>(COMMANDS).unwrap_err();
        assert_eq!(refused.code, "man_unwritable");
        let dir = folder.path().to_owned();
        ManPages { dir }.write::<Arguments>(COMMANDS).unwrap();
        assert!(folder.path().join("program-one.1").exists());
    }
}
