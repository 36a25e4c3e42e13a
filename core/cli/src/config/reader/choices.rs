//! Keys whose text is one of a few words.

use super::{Bounds, Key, Reader};

/// The words that a key can have, with what each stands for.
type Choices<'c, T> = &'c [(&'static str, T)];

impl Reader {
    /// A word that has to be written.
    pub fn required_choice<T: Copy>(
        &mut self,
        key: &Key,
        choices: Choices<'_, T>,
        remedy: &str,
    ) -> Option<T> {
        self.note_required(key, "text", names(choices));
        self.demand(key.name, remedy);
        self.chosen(key, choices, remedy)
    }

    /// A word that may be left out; there is no default.
    pub fn optional_choice<T: Copy>(
        &mut self,
        key: &Key,
        choices: Choices<'_, T>,
        remedy: &str,
    ) -> Option<T> {
        self.note_written(key, "text", None, names(choices));
        self.chosen(key, choices, remedy)
    }

    /// A word that may be left out: then it is the one of `default`.
    pub fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &Key,
        default: T,
        choices: Choices<'_, T>,
        remedy: &str,
    ) -> T {
        let word = choices.iter().find(|(_, value)| *value == default);
        let word = word.map(|(word, _)| (*word).into());
        self.note_written(key, "text", word, names(choices));
        self.chosen(key, choices, remedy).unwrap_or(default)
    }

    fn chosen<T: Copy>(&mut self, key: &Key, choices: Choices<'_, T>, remedy: &str) -> Option<T> {
        self.parsed(key.name, remedy, |text| {
            let known = choices.iter().find(|(word, _)| *word == text);
            let unknown = || "is not one of the words that it can have".to_owned();
            known.map(|(_, value)| *value).ok_or_else(unknown)
        })
    }
}

fn names<T>(choices: Choices<'_, T>) -> Bounds {
    Bounds::Choices(choices.iter().map(|(word, _)| *word).collect())
}
