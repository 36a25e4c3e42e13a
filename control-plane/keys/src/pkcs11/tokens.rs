//! Which token is ours, of all that are there.
//!
//! Several may have our label, and one that cannot be read may be another of them. So none is taken
//! at a guess: the PIN would be tried there, and a key made there that belongs elsewhere.

use cryptoki::error::{Error, RvError};
use cryptoki::slot::Slot;

use super::fault::Fault;
use super::module::Entered;

/// What tells our token from others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) label: &'a str,
    /// As the operator sets it.
    pub(super) serial: Option<&'a str>,
    /// Of the token that was opened before.
    pub(super) opened: Option<&'a str>,
}

/// A token that is there.
#[derive(Debug)]
pub(super) struct Seen {
    label: String,
    serial: String,
}

/// The tokens that may be ours.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    wanted: Wanted<'a>,
    found: Vec<(Slot, String)>,
    unreadable: Option<Error>,
}

impl Seen {
    /// The token in a slot; `None` where there is none, or one that nobody has initialised.
    pub(super) fn at(entered: &Entered<'_>, slot: Slot) -> Result<Option<Self>, Error> {
        match entered.library().get_token_info(slot) {
            Ok(token) if token.token_initialized() => Ok(Some(Self {
                label: token.label().trim_end().to_owned(),
                serial: token.serial_number().trim_end().to_owned(),
            })),
            // It was pulled out since the slots were listed.
            Ok(_) | Err(Error::Pkcs11(RvError::TokenNotPresent, _)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Wanted<'_> {
    pub(super) fn is_met_by(&self, seen: &Seen) -> bool {
        let is = |serial: &str| seen.serial == serial;
        seen.label == self.label && self.serial.is_none_or(is) && self.opened.is_none_or(is)
    }
}

impl<'a> Ours<'a> {
    pub(super) fn new(wanted: Wanted<'a>) -> Self {
        Self {
            wanted,
            found: Vec::new(),
            unreadable: None,
        }
    }

    pub(super) fn look_at(&mut self, slot: Slot, seen: Result<Option<Seen>, Error>) {
        match seen {
            Ok(seen) => {
                let seen = seen.filter(|seen| self.wanted.is_met_by(seen));
                self.found.extend(seen.map(|seen| (slot, seen.serial)));
            }
            Err(error) => self.unreadable = Some(error),
        }
    }

    /// The one token that is ours. One that cannot be read does no harm where a serial number says
    /// that it is another.
    ///
    /// # Errors
    /// There is none, or there may be several.
    pub(super) fn only(mut self) -> Result<(Slot, String), Fault> {
        let is_certain = self.wanted.serial.or(self.wanted.opened).is_some();
        match (self.found.pop(), self.unreadable) {
            (Some(found), _) if is_certain && self.found.is_empty() => Ok(found),
            (_, Some(error)) => Err(Fault::Device(format!(
                "a token cannot be read, which may be ours: {error}"
            ))),
            (None, None) => Err(self.wanted.absent()),
            (Some(found), None) if self.found.is_empty() => Ok(found),
            (Some(found), None) => {
                self.found.push(found);
                Err(self.wanted.ambiguous(&self.found))
            }
        }
    }
}

impl Wanted<'_> {
    fn absent(&self) -> Fault {
        let label = self.label;
        Fault::TokenAbsent(match (self.serial, self.opened) {
            (None, None) => format!("no token {label:?}"),
            (Some(serial), _) => format!("no token {label:?} with the serial number {serial:?}"),
            (None, Some(serial)) => format!(
                "no token {label:?} with the serial number {serial:?}, which was opened first: \
                 another one is used after a restart"
            ),
        })
    }

    /// Which of them is the first changes from start to start.
    fn ambiguous(&self, found: &[(Slot, String)]) -> Fault {
        let serials: Vec<_> = found.iter().map(|(_, serial)| serial.as_str()).collect();
        Fault::TokenAmbiguous(format!(
            "several tokens {:?}, with the serial numbers {}: set ca.pkcs11.serial to that of the \
             token with our keys",
            self.label,
            serials.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    const LABEL: &str = "countersign";

    fn wanted<'a>(serial: Option<&'a str>, opened: Option<&'a str>) -> Wanted<'a> {
        Wanted {
            label: LABEL,
            serial,
            opened,
        }
    }

    fn token(label: &str, serial: &str) -> Result<Option<Seen>, Error> {
        Ok(Some(Seen {
            label: label.to_owned(),
            serial: serial.to_owned(),
        }))
    }

    fn unreadable() -> Result<Option<Seen>, Error> {
        Err(Error::Pkcs11(RvError::DeviceError, Function::GetTokenInfo))
    }

    fn only(
        wanted: Wanted<'_>,
        seen: impl IntoIterator<Item = Result<Option<Seen>, Error>>,
    ) -> Result<String, Fault> {
        let mut ours = Ours::new(wanted);
        for (number, seen) in seen.into_iter().enumerate() {
            let slot = Slot::try_from(u64::try_from(number).unwrap()).unwrap();
            ours.look_at(slot, seen);
        }
        ours.only().map(|(_, serial)| serial)
    }

    #[test]
    fn a_token_that_cannot_be_read_makes_no_other_the_only_one() {
        for seen in [
            vec![token(LABEL, "1"), unreadable()],
            vec![unreadable(), token(LABEL, "1")],
            vec![unreadable()],
        ] {
            let refused = only(wanted(None, None), seen);
            assert!(matches!(refused, Err(Fault::Device(_))), "{refused:?}");
        }
        let of_serial = only(wanted(Some("1"), None), [unreadable(), token(LABEL, "1")]);
        assert_eq!(of_serial.unwrap(), "1");
        let other = only(wanted(Some("2"), None), [unreadable(), token(LABEL, "1")]);
        assert!(matches!(other, Err(Fault::Device(_))), "{other:?}");
    }

    #[test]
    fn the_token_that_was_opened_is_the_one() {
        let both = || [token(LABEL, "1"), token(LABEL, "2")];
        assert_eq!(only(wanted(None, Some("2")), both()).unwrap(), "2");
        let other = only(wanted(None, Some("2")), [token(LABEL, "1")]);
        assert!(matches!(other, Err(Fault::TokenAbsent(_))), "{other:?}");
        let refused = only(wanted(None, None), both());
        let Err(Fault::TokenAmbiguous(why)) = refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains("1") && why.contains("2"), "{why}");
        let foreign = only(wanted(None, None), [token("x", "1"), token(LABEL, "2")]);
        assert_eq!(foreign.unwrap(), "2");
    }
}
