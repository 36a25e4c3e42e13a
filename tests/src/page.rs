//! A page of the documentation, as what a reader does with it: write these files, run these commands,
//! see this output.
//!
//! [`Page::read`] takes a page apart and [`Shell::follow`] does what it says, in a machine of its own.
//! What a page has to look like for that is in `docs/contributing.md`.

mod expected;
mod shell;

use anyhow::{Context, Result, bail, ensure};

pub use shell::Shell;

use crate::binaries;

/// What stands above a block that is not done as it is: `<!-- run: … -->`.
const MARK: &str = "<!-- run:";
/// The comment behind a command that has to fail.
const FAILS: &str = "# fails";

/// One thing that a reader does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a file, or adds to it.
    File {
        /// Its name, from the folder of everything.
        name: String,
        /// What is written.
        text: String,
        /// Whether it goes behind what is there.
        append: bool,
    },
    /// Runs a command.
    Run(Command),
}

/// A command of a `console` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its lines, without the prompt.
    pub text: String,
    /// The lines that it prints, among others.
    pub prints: Vec<String>,
    /// Whether it has to fail.
    pub fails: bool,
    /// Whether it is run until it prints that.
    pub until: bool,
}

impl Command {
    /// In what a run of it is not what the page says.
    pub fn is_missed_by(&self, code: i32, printed: &str) -> Option<String> {
        let has_failed = code != 0;
        if has_failed != self.fails {
            return Some(format!("ended with {code}"));
        }
        let missing = expected::missing(&self.prints, printed)?;
        Some(format!("did not print {missing:?}"))
    }
}

/// What a page, or a section of it, asks a reader to do.
#[derive(Clone, Debug)]
pub struct Page {
    name: String,
    steps: Vec<Step>,
}

impl Page {
    /// The whole of a page, named from the root of the project.
    ///
    /// # Errors
    /// It is not there, or a mark in it means nothing.
    pub fn read(name: &str) -> Result<Self> {
        Self::parse(name, &text(name)?)
    }

    /// What stands under one heading of it, the headings below that one included.
    ///
    /// # Errors
    /// The same, or there is no such heading.
    pub fn section(name: &str, heading: &str) -> Result<Self> {
        let text = text(name)?;
        let section = section(&text, heading)
            .with_context(|| format!("{name} has no heading {heading:?}"))?;
        Self::parse(&format!("{name}, {heading}"), &section)
    }

    /// A text that is such a page.
    ///
    /// # Errors
    /// It asks for nothing, or a mark in it means nothing.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let steps = steps(text).with_context(|| name.to_owned())?;
        ensure!(!steps.is_empty(), "{name} asks for nothing");
        let name = name.to_owned();
        Ok(Self { name, steps })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it asks for, in its order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

fn text(name: &str) -> Result<String> {
    std::fs::read_to_string(binaries::project().join(name)).with_context(|| name.to_owned())
}

/// The lines under a heading, up to the next one that is not below it.
fn section(text: &str, heading: &str) -> Option<String> {
    let mut is_code = false;
    let mut level = None;
    let mut found = String::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let depth = line.bytes().take_while(|&byte| byte == b'#').count();
        let is_heading = !is_code && depth > 0;
        match level {
            None if is_heading && line[depth..].trim() == heading => level = Some(depth),
            Some(above) if is_heading && depth <= above => break,
            Some(_) => found.extend([line, "\n"]),
            None => {}
        }
    }
    level.map(|_| found)
}

/// Every block of a text that asks for something.
fn steps(text: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut before = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            before = if line.trim().is_empty() { before } else { line };
            continue;
        };
        let block = lines.by_ref().take_while(|&line| line != "```");
        let block: Vec<_> = block.collect();
        steps.extend(asked(before, language, &block)?);
        before = "";
    }
    Ok(steps)
}

/// What a block asks for, with the line before it.
fn asked(before: &str, language: &str, block: &[&str]) -> Result<Vec<Step>> {
    let mark = before.trim().strip_prefix(MARK);
    let mark = mark
        .and_then(|rest| rest.strip_suffix("-->"))
        .map(str::trim);
    let file = |name: &str, append| {
        let (name, text) = (name.to_owned(), block.join("\n") + "\n");
        Ok(vec![Step::File { name, text, append }])
    };
    match (
        mark.map(|mark| mark.split_once(' ').unwrap_or((mark, ""))),
        language,
    ) {
        (Some(("no" | "no,", _)), _) => Ok(Vec::new()),
        (Some(("append", name)), _) => file(name, true),
        (Some(("until", "")), "console") => Ok(commands(block, true)),
        (Some(_), _) => bail!("`{before}` means nothing above a block of `{language}`"),
        (None, "console") => Ok(commands(block, false)),
        (None, _) => file_name(before).map_or(Ok(Vec::new()), |name| file(name, false)),
    }
}

/// The name of a file that the next block is: the line before it ends with it and a colon.
fn file_name(before: &str) -> Option<&str> {
    let (_, name) = before.trim().strip_suffix("`:")?.rsplit_once('`')?;
    (!name.is_empty() && !name.contains(' ')).then_some(name)
}

fn commands(block: &[&str], until: bool) -> Vec<Step> {
    let mut commands: Vec<Command> = Vec::new();
    for line in block {
        let begun = line.strip_prefix("$ ");
        match (begun, commands.last_mut()) {
            (_, Some(command)) if is_open(&command.text) => {
                command.text.extend(["\n", line]);
            }
            (Some(text), _) => commands.push(Command {
                text: text.to_owned(),
                prints: Vec::new(),
                fails: false,
                until,
            }),
            (None, Some(command)) => command.prints.push((*line).to_owned()),
            (None, None) => {}
        }
    }
    for command in &mut commands {
        command.fails = command.text.contains(FAILS);
    }
    commands.into_iter().map(Step::Run).collect()
}

/// Whether the next line belongs to a command: it ends with a backslash, or a here-document goes on.
fn is_open(text: &str) -> bool {
    let here = text.split_once("<<").map(|(_, rest)| rest);
    let end = here.map(|rest| {
        rest.lines()
            .next()
            .unwrap_or("")
            .trim_matches(['-', '\'', '"', ' '])
    });
    text.ends_with('\\') || end.is_some_and(|end| !text.lines().skip(1).any(|line| line == end))
}

#[cfg(test)]
mod tests;
