//! Subtests in braces: the test point comes first, and the tests that it sums up stand between `{` and `}`.

use super::line::Point;
use super::{ParseError, Stream};

/// A test point, and what is known of it.
pub(super) struct Buffered {
    pub(super) name: String,
    pub(super) point: Point,
    pub(super) number: u64,
    /// Whether its number was used before.
    pub(super) is_repeated: bool,
}

/// What comes behind a subtest in braces.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ending {
    /// The brace that closes it.
    Closed,
    /// Something else of its level or of one above it.
    Next,
    /// The end of the stream.
    Cut,
}

impl Stream<'_> {
    /// Ends the subtest that is open in braces on the innermost level; whether there is one.
    ///
    /// One that is not closed may lack tests, so it adds an errored test, unless something follows that shows that there
    /// never was a subtest: then the brace belongs to the name.
    pub(super) fn finish(&mut self, ending: Ending) -> Result<bool, ParseError> {
        let tests = self.tests.len();
        let level = self.level();
        level.leaf = None;
        let Some(mut buffered) = level.buffered.take() else { return Ok(false) };
        let is_empty = level.subtest_from.is_none_or(|from| from >= tests) && level.subtest_skipped.is_none();
        match ending {
            Ending::Closed => {}
            Ending::Next if is_empty => buffered.name.push_str(" {"),
            Ending::Next | Ending::Cut => {
                let name = buffered.name.clone();
                if !is_empty {
                    self.settle(&buffered)?;
                }
                self.push_errored(name, "its subtest begins with { and is not closed")?;
                return Ok(true);
            }
        }
        self.settle(&buffered)?;
        Ok(true)
    }

    /// Makes the latest test point one whose subtest follows in braces.
    pub(super) fn open_latest(&mut self) {
        let last = self.tests.len().wrapping_sub(1);
        let level = self.level();
        if let Some((buffered, test)) = level.leaf.take()
            && test == last
        {
            level.buffered = Some(buffered);
            self.tests.pop();
            self.last = None;
        }
    }
}
