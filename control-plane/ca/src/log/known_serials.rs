//! Serials that were found in the log.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use countersign_model::Serial;

/// Most serials that are remembered. A caller has as many as it was issued: one that calls again and
/// again with the same certificate costs one look.
const MAX_KNOWN: usize = 4_096;

/// Serials that were looked up and found: an entry of the log does not change. A look reads a whole
/// bundle of entries from the disk, and a caller that is refused may cause one with each call.
#[derive(Debug, Default)]
pub(super) struct KnownSerials(Mutex<HashSet<Serial>>);

impl KnownSerials {
    /// Whether a serial is remembered, or `look` finds it. A serial that is not found is not remembered:
    /// its entry may still come.
    pub(super) fn or_look<E>(
        &self,
        serial: &Serial,
        look: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        if self.serials().contains(serial) {
            return Ok(true);
        }
        let is_found = look()?;
        if is_found {
            let mut serials = self.serials();
            // Forgetting them all costs one look for each that still calls.
            if serials.len() >= MAX_KNOWN {
                serials.clear();
            }
            serials.insert(*serial);
        }
        Ok(is_found)
    }

    fn serials(&self) -> std::sync::MutexGuard<'_, HashSet<Serial>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn serial(index: usize) -> Serial {
        Serial::new(0x01_0000, index as u64, [7; 8]).unwrap()
    }

    #[test]
    fn found_serial_is_looked_up_once() {
        let found = KnownSerials::default();
        let (looks, is_there) = (std::cell::Cell::new(0), std::cell::Cell::new(false));
        let look = || {
            looks.set(looks.get() + 1);
            Ok::<_, Infallible>(is_there.get())
        };
        assert_eq!(found.or_look(&serial(1), look), Ok(false));
        is_there.set(true);
        for _ in 0..3 {
            assert_eq!(found.or_look(&serial(1), look), Ok(true));
        }
        assert_eq!(looks.get(), 2, "what was not there may come yet");
    }

    #[test]
    fn remembered_serials_are_bounded() {
        let found = KnownSerials::default();
        for index in 0..=MAX_KNOWN {
            found
                .or_look(&serial(index), || Ok::<_, Infallible>(true))
                .unwrap();
        }
        assert_eq!(found.serials().len(), 1);
    }
}
