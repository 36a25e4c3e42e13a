//! YAML, event by event: nothing is built that the text does not hold, so that its cost follows its
//! length.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::tree::{MAX_DEPTH, Node, Value};
use super::{Mistake, Place};

/// The documents of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Mistake> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
    };
    let mut documents = Vec::new();
    loop {
        let (event, at) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => documents.push(reader.node(event, at, 1)?),
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Mistake> {
        let event = self.parser.next_event();
        let event = event.unwrap_or_else(|| Ok((Event::StreamEnd, Span::default())));
        event.map_err(|error| unread(&error))
    }

    fn node(&mut self, event: Event<'t>, at: Span, depth: usize) -> Result<Node, Mistake> {
        let refused = |problem: &str, remedy: &str| Err(mistake(at, problem.to_owned(), remedy));
        if depth > MAX_DEPTH {
            return refused(
                "this is nested too deep",
                "see `countersign export` for the shape",
            );
        }
        let value = match event {
            Event::Alias(_) => {
                return refused("an alias is not read", "write out what it stands for");
            }
            Event::Scalar(.., anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag)
                if anchor != 0 || tag.is_some() =>
            {
                return refused("anchors and tags are not read", "write the value alone");
            }
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.map(depth)?,
            _ => return refused("a value is missing", "write one"),
        };
        let line = Some(at.start.line());
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(list)),
                (event, at) => list.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut map = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(map)),
                (event, at) => self.node(event, at, depth + 1)?,
            };
            let (event, at) = self.next()?;
            map.push((key, self.node(event, at, depth + 1)?));
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let is_nothing = matches!(text, "" | "~" | "null" | "Null" | "NULL");
    match style {
        ScalarStyle::Plain if is_nothing => Value::Nothing,
        _ => Value::Scalar(text.to_owned()),
    }
}

fn unread(error: &ScanError) -> Mistake {
    let marker = *error.marker();
    let at = Span::empty(marker);
    mistake(
        at,
        format!("this is no YAML: {}", error.info()),
        "mend the syntax",
    )
}

fn mistake(at: Span, problem: String, remedy: &str) -> Mistake {
    Mistake {
        place: Place {
            line: Some(at.start.line()).filter(|line| *line > 0),
            path: String::new(),
        },
        problem,
        remedy: remedy.to_owned(),
    }
}
