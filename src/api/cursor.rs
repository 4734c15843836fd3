//! The cursor: where the next page of a list begins, as opaque text that clients pass back unchanged.

use assize_store::runs::{After, RunRow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use uuid::Uuid;

/// The first byte of a cursor. A future order of the list gets a new version.
const VERSION: u8 = 1;

/// Returns the cursor of the page after the one that ends with `run`.
pub(super) fn after(run: &RunRow) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(run.submitted_at.timestamp_micros().to_be_bytes());
    bytes.extend(run.id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Parses a cursor. Returns `None` if this service did not return it.
pub(super) fn read(text: &str) -> Option<After> {
    let bytes: [u8; 25] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (version, rest) = bytes.split_first()?;
    let (micros, id) = rest.split_first_chunk::<8>()?;
    let submitted_at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    // Postgres supports the years 4713 BC to 294276; a forged cursor must not exceed them.
    let is_supported = (0..=253_402_300_799_999_999).contains(&submitted_at.timestamp_micros());
    (*version == VERSION && is_supported).then_some(After { submitted_at, id: Uuid::from_slice(id).ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(version: u8, micros: i64) -> String {
        let mut bytes = vec![version];
        bytes.extend(micros.to_be_bytes());
        bytes.extend(Uuid::max().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn a_cursor_reads_back() {
        let read = read(&text(VERSION, 1_700_000_000_000_001)).unwrap();
        assert_eq!((read.submitted_at.timestamp_micros(), read.id), (1_700_000_000_000_001, Uuid::max()));
    }

    #[test]
    fn another_version_and_a_time_out_of_range_are_rejected() {
        assert_eq!(read(&text(2, 0)), None);
        assert_eq!(read(&text(VERSION, i64::MAX)), None);
        assert_eq!(read(&text(VERSION, -1)), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "\\PC{0,60}") {
            read(&text);
        }
    }
}
