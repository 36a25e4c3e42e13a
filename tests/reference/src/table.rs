//! Tables of Markdown.

/// A table that is written row by row.
#[derive(Debug)]
pub struct Table {
    text: String,
}

impl Table {
    /// With these columns.
    pub fn new<const N: usize>(columns: [&str; N]) -> Self {
        let rule = "|---".repeat(N) + "|\n";
        Self {
            text: format!("| {} |\n{rule}", columns.join(" | ")),
        }
    }

    /// One more row; the cells are Markdown.
    pub fn row<const N: usize>(&mut self, cells: &[String; N]) {
        self.text += &format!("| {} |\n", cells.join(" | "));
    }

    /// The table.
    pub fn finish(self) -> String {
        self.text
    }
}

/// A text of the code as Markdown: nothing of it ends a cell or begins an element.
pub fn plain(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A text of the code as a sentence of its own.
pub fn sentence(text: &str) -> String {
    let text = plain(text);
    let end = if text.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}{end}", first.unwrap_or_default(), chars.as_str())
}

/// A word as code; nothing where there is none.
pub fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", text.replace('|', "\\|")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_cell() {
        let mut table = Table::new(["A", "B"]);
        table.row(&[plain("a|b\n c"), code("x|y")]);
        assert_eq!(
            table.finish(),
            "| A | B |\n|---|---|\n| a\\|b c | `x\\|y` |\n"
        );
        assert_eq!(plain("<b>"), "&lt;b&gt;");
        assert_eq!(sentence("wait until\n it ends"), "Wait until it ends.");
    }
}
