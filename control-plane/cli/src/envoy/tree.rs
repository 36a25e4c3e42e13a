//! A document as a tree that knows why it says what it says: written as YAML with comments, or as JSON
//! without.

use std::borrow::Cow;

use serde_json::Value;

/// Columns of a level.
const INDENT: usize = 2;

/// A value with the reason for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    why: Option<Cow<'static, str>>,
    node: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Scalar(Value),
    List(Vec<Tree>),
    Map(Vec<(&'static str, Tree)>),
}

/// A map, in the order of its entries.
pub(super) fn map<const N: usize>(entries: [(&'static str, Tree); N]) -> Tree {
    Node::Map(entries.into()).into()
}

/// A list.
pub(super) fn list(items: impl IntoIterator<Item = Tree>) -> Tree {
    Node::List(items.into_iter().collect()).into()
}

/// An extension of Envoy: a map with its type first.
pub(super) fn typed<const N: usize>(
    type_name: &'static str,
    entries: [(&'static str, Tree); N],
) -> Tree {
    let url = format!("type.googleapis.com/{type_name}");
    let mut typed = map([("@type", url.into())]);
    for (key, value) in entries {
        typed = typed.with(key, value);
    }
    typed
}

impl Tree {
    /// With a comment above it.
    pub(super) fn because(self, why: impl Into<Cow<'static, str>>) -> Self {
        let why = Some(why.into());
        Self { why, ..self }
    }

    /// With a further entry, if there is one to add. It is a map.
    pub(super) fn with(mut self, key: &'static str, value: impl Into<Option<Self>>) -> Self {
        if let (Node::Map(entries), Some(value)) = (&mut self.node, value.into()) {
            entries.push((key, value));
        }
        self
    }

    pub(super) fn to_json(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::List(items) => items.iter().map(Self::to_json).collect(),
            Node::Map(entries) => entries
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.to_json()))
                .collect(),
        }
    }

    pub(super) fn to_yaml(&self) -> String {
        self.lines(0).into_iter().map(|line| line + "\n").collect()
    }

    /// Its lines, each indented.
    fn lines(&self, depth: usize) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.node {
            Node::Scalar(_) => lines.extend(self.short().map(|text| indented(depth, &text))),
            Node::List(items) => {
                for item in items {
                    lines.extend(item.comment(depth));
                    let mut own = item.lines(depth + INDENT);
                    let is_comment = |line: &&mut String| line.trim_start().starts_with('#');
                    if let Some(first) = own.iter_mut().find(|line| !is_comment(line)) {
                        first.replace_range(depth..depth + INDENT, "- ");
                    }
                    lines.append(&mut own);
                }
            }
            Node::Map(entries) => {
                for (key, value) in entries {
                    lines.extend(value.comment(depth));
                    let key = word(key);
                    if let Some(text) = value.short() {
                        lines.push(indented(depth, &format!("{key}: {text}")));
                    } else {
                        lines.push(indented(depth, &format!("{key}:")));
                        lines.extend(value.lines(depth + INDENT));
                    }
                }
            }
        }
        lines
    }

    /// What stands behind a key in its line. JSON's texts are YAML's, and being quoted, none is taken
    /// for a number or a truth value.
    fn short(&self) -> Option<String> {
        match &self.node {
            Node::Scalar(value) => Some(value.to_string()),
            Node::List(items) => items.is_empty().then(|| "[]".to_owned()),
            Node::Map(entries) => entries.is_empty().then(|| "{}".to_owned()),
        }
    }

    fn comment(&self, depth: usize) -> impl Iterator<Item = String> {
        let lines = self.why.iter().flat_map(|why| why.lines());
        lines.map(move |line| indented(depth, &format!("# {line}")))
    }
}

fn indented(depth: usize, text: &str) -> String {
    format!("{:depth$}{text}", "")
}

/// A key, quoted where it has to be.
fn word(key: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    if key.chars().all(is_plain) {
        key.into()
    } else {
        Value::from(key).to_string().into()
    }
}

impl From<Node> for Tree {
    fn from(node: Node) -> Self {
        Self { why: None, node }
    }
}

/// A scalar.
macro_rules! scalars {
    ($($type:ty),*) => {$(
        impl From<$type> for Tree {
            fn from(value: $type) -> Self {
                Node::Scalar(value.into()).into()
            }
        }
    )*};
}
scalars!(&str, String, bool, u16, u32, u64, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_has_comments_and_json_has_none() {
        let tree = map([
            ("id", "no".into()),
            ("@type", Tree::from(1_u16).because("one\ntwo")),
            (
                "list",
                list([
                    map([("a", true.into()), ("b", map([]))]),
                    Tree::from("x").because("why"),
                    map([("c", Tree::from("d").because("inside"))]),
                ]),
            ),
            ("none", list([])),
        ]);
        let yaml = "id: \"no\"\n# one\n# two\n\"@type\": 1\nlist:\n  - a: true\n    b: {}\n  \
                    # why\n  - \"x\"\n    # inside\n  - c: \"d\"\nnone: []\n";
        assert_eq!(tree.to_yaml(), yaml);
        let json = serde_json::json!({
            "id": "no", "@type": 1,
            "list": [{"a": true, "b": {}}, "x", {"c": "d"}], "none": [],
        });
        assert_eq!(tree.to_json(), json);
    }
}
