//! A map of a file whose keys are known, and its values by what they are to be.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

use countersign_cli::config::closest;

use super::tree::{Node, Value};
use super::{MAX_MISTAKES, Mistake};

/// A map whose keys are known, each once.
pub(super) struct Map<'n> {
    node: &'n Node,
    path: &'n str,
    pairs: Vec<(&'n str, &'n Node)>,
}

impl<'n> Map<'n> {
    pub(super) fn of(
        node: &'n Node,
        path: &'n str,
        known: &[&str],
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let Value::Map(pairs) = &node.value else {
            let remedy = format!("write keys and values: {}", known.join(", "));
            mistakes.push(node.mistake(path, "this is no map", &remedy));
            return None;
        };
        let mut map = Self {
            node,
            path,
            pairs: Vec::new(),
        };
        for (key, value) in pairs {
            if mistakes.len() > MAX_MISTAKES {
                break;
            }
            let Value::Scalar(name) = &key.value else {
                mistakes.push(key.mistake(path, "this is no key", "write a name before the colon"));
                continue;
            };
            if map.find(name).is_some() {
                let path = map.below(name);
                mistakes.push(key.mistake(&path, "the key is there twice", "write it once"));
            } else if known.contains(&&**name) {
                map.pairs.push((name, value));
            } else {
                mistakes.push(key.mistake(
                    &map.below(name),
                    "the key is unknown",
                    &instead(name, known),
                ));
            }
        }
        Some(map)
    }

    fn below(&self, key: &str) -> String {
        match self.path {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// What is under a key, also where that is nothing.
    pub(super) fn find(&self, key: &str) -> Option<&'n Node> {
        let found = self.pairs.iter().find(|(name, _)| *name == key);
        found.map(|(_, node)| *node)
    }

    fn is_said(&self, key: &str) -> bool {
        let found = self.find(key);
        found.is_some_and(|node| !matches!(node.value, Value::Nothing))
    }

    pub(super) fn required(&self, key: &str, mistakes: &mut Vec<Mistake>) {
        if !self.is_said(key) {
            let problem = format!("{key} is missing");
            mistakes.push(
                self.node
                    .mistake(self.path, &problem, &format!("write {key}: …")),
            );
        }
    }

    pub(super) fn not_by_hand(&self, key: &str, mistakes: &mut Vec<Mistake>) {
        if let Some(node) = self.find(key).filter(|_| self.is_said(key)) {
            let problem = "what is signed by hand has none";
            mistakes.push(node.mistake(&self.below(key), problem, "leave it out"));
        }
    }

    pub(super) fn text(&self, key: &str, mistakes: &mut Vec<Mistake>) -> Option<String> {
        let node = self.find(key)?;
        match &node.value {
            Value::Nothing => None,
            Value::Scalar(text) => Some(text.clone()),
            _ => {
                mistakes.push(node.mistake(&self.below(key), "this is no text", "write one value"));
                None
            }
        }
    }

    pub(super) fn read<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        let text = self.text(key, mistakes)?;
        let node = self.find(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                let problem = format!("{text} does not read");
                mistakes.push(node.mistake(&self.below(key), &problem, &error));
                None
            }
        }
    }

    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &self,
        key: &str,
        example: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        self.read(key, |text| parse(text, example), mistakes)
    }

    pub(super) fn flag(&self, key: &str, mistakes: &mut Vec<Mistake>) -> bool {
        let read = |text: &str| text.parse().map_err(|_| "write true or false".to_owned());
        self.read(key, read, mistakes).unwrap_or(false)
    }

    pub(super) fn list(&self, key: &str, mistakes: &mut Vec<Mistake>) -> Option<&'n [Node]> {
        let node = self.find(key)?;
        match &node.value {
            Value::Nothing => Some(&[]),
            Value::List(list) => Some(list),
            _ => {
                mistakes.push(node.mistake(
                    &self.below(key),
                    "this is no list",
                    "write - before each",
                ));
                None
            }
        }
    }

    pub(super) fn texts(&self, key: &str, mistakes: &mut Vec<Mistake>) -> Vec<String> {
        self.parsed_list(key, "one value", mistakes)
    }

    pub(super) fn parsed_list<T: FromStr<Err: Display>>(
        &self,
        key: &str,
        example: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> Vec<T> {
        let list = self.list(key, mistakes).unwrap_or_default();
        let mut values = Vec::new();
        for (n, node) in list.iter().enumerate() {
            if mistakes.len() > MAX_MISTAKES {
                break;
            }
            let path = format!("{}[{n}]", self.below(key));
            let Value::Scalar(text) = &node.value else {
                mistakes.push(node.mistake(&path, "this is no text", &format!("write {example}")));
                continue;
            };
            match parse(text, example) {
                Ok(value) => values.push(value),
                Err(error) => {
                    let problem = format!("{text} does not read");
                    mistakes.push(node.mistake(&path, &problem, &error));
                }
            }
        }
        values
    }

    pub(super) fn labels(&self, mistakes: &mut Vec<Mistake>) -> HashMap<String, String> {
        let mut labels = HashMap::new();
        let Some(node) = self.find("labels").filter(|_| self.is_said("labels")) else {
            return labels;
        };
        let path = self.below("labels");
        let Value::Map(pairs) = &node.value else {
            mistakes.push(node.mistake(&path, "this is no map", "write key: value for each label"));
            return labels;
        };
        for (key, value) in pairs {
            let (Value::Scalar(name), Value::Scalar(text)) = (&key.value, &value.value) else {
                mistakes.push(key.mistake(&path, "this is no label", "write key: value"));
                continue;
            };
            if labels.insert(name.clone(), text.clone()).is_some() {
                let path = format!("{path}.{name}");
                mistakes.push(key.mistake(&path, "the key is there twice", "write it once"));
            }
        }
        labels
    }
}

fn parse<T: FromStr<Err: Display>>(text: &str, example: &str) -> Result<T, String> {
    text.parse()
        .map_err(|error: T::Err| format!("{error}; write a value such as {example}"))
}

fn instead(name: &str, known: &[&str]) -> String {
    match closest(name, known.iter().copied()) {
        Some(close) => format!("did you mean {close}?"),
        None => format!("the keys are {}", known.join(", ")),
    }
}
