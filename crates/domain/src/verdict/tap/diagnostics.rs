//! What follows a test point: YAML diagnostics and comments.

use std::ops::Range;

use super::{INDENT, Stream};
use crate::verdict::{TestStatus, text, whole_millis};

/// The latest test point, for the diagnostics that may follow it.
pub(super) struct Last<'a> {
    pub(super) level: usize,
    /// Its test, unless it only sums up others.
    pub(super) test: Option<usize>,
    /// The tests that it sums up.
    pub(super) summed: Option<Summed>,
    /// The comments that followed it.
    pub(super) comments: Kept<'a>,
}

/// Lines, as many as a message holds: a report may have millions.
#[derive(Default)]
pub(super) struct Kept<'a> {
    lines: Vec<&'a str>,
    bytes: usize,
}

impl<'a> Kept<'a> {
    pub(super) fn push(&mut self, line: &'a str, limit: usize) {
        // One line more, so that a message that was cut says so.
        if self.bytes <= limit {
            self.bytes += line.len() + 1;
            self.lines.push(line);
        }
    }
}

/// The tests of a subtest, and its name.
pub(super) struct Summed {
    pub(super) name: String,
    pub(super) tests: Range<usize>,
}

/// A block of YAML diagnostics that is open.
pub(super) struct Yaml<'a> {
    indent: usize,
    lines: Kept<'a>,
    duration_ms: Option<u64>,
    test: Option<usize>,
    summed: Option<Summed>,
}

impl<'a> Stream<'a> {
    /// Opens a block of diagnostics if `content` is one's first line, right after a test point and indented below it:
    /// by two columns as the specification has it, by four as Vitest writes it.
    pub(super) fn opens_yaml(&mut self, indent: usize, content: &str) -> bool {
        let is_below = |last: &&mut Last<'_>| content == "---" && indent > last.level * INDENT;
        let Some(last) = self.last.as_mut().filter(is_below) else { return false };
        let (test, summed) = (last.test, last.summed.take());
        self.close_comments();
        self.yaml = Some(Yaml { indent, lines: Kept::default(), duration_ms: None, test, summed });
        true
    }

    /// Takes a line into the open block of diagnostics. One that is indented less ends the block, and is TAP again.
    pub(super) fn in_yaml(&mut self, line: &'a str, indent: usize, content: &str) -> bool {
        let Some(yaml) = &mut self.yaml else { return false };
        if content == "..." && indent == yaml.indent {
            self.close_yaml();
            return true;
        }
        if indent < yaml.indent && !content.is_empty() {
            self.close_yaml();
            return false;
        }
        let line = line.get(yaml.indent..).unwrap_or_default();
        match line.strip_prefix("duration_ms:") {
            Some(millis) => yaml.duration_ms = millis.trim().parse().ok().and_then(whole_millis),
            None => yaml.lines.push(line, self.limits.message_bytes),
        }
        true
    }

    /// Gives the diagnostics to their test: the duration always, the rest as the message of one that did not pass.
    pub(super) fn close_yaml(&mut self) {
        let Some(yaml) = self.yaml.take() else { return };
        if let (None, Some(summed)) = (yaml.test, &yaml.summed) {
            self.explain(summed, &yaml.lines.lines);
        }
        let Some(test) = yaml.test.and_then(|index| self.tests.get_mut(index)) else { return };
        test.duration_ms = yaml.duration_ms.or(test.duration_ms);
        if test.status != TestStatus::Passed {
            let own = test.message.take().map(|reason| format!("{reason}\n")).unwrap_or_default();
            test.message = text::block(&format!("{own}{}", yaml.lines.lines.join("\n")), self.limits.message_bytes);
        }
    }

    /// Gives the reason of a subtest that failed by itself, as Node's do when a hook fails, to the tests that were
    /// cancelled for it, or to the first that failed.
    fn explain(&mut self, summed: &Summed, lines: &[&str]) {
        let value = |key: &str| lines.iter().position(|line| line.starts_with(key));
        let failure = value("failureType:").map(|at| lines[at]);
        let (Some(at), true) = (value("error:"), failure.is_some_and(|kind| !kind.contains("'subtestsFailed'"))) else {
            return;
        };
        let mut reason = lines[at]["error:".len()..].trim();
        if reason.starts_with(['|', '>']) {
            reason = lines.get(at + 1).map_or("", |line| line.trim());
        }
        let note = format!("{}: {}", summed.name, text::excerpt(reason.trim_matches('\'')));
        let limit = self.limits.message_bytes;
        let Some(tests) = self.tests.get_mut(summed.tests.clone()) else { return };
        let cancelled = |message: &Option<String>| {
            message.as_deref().is_some_and(|message| message.contains("failureType: 'cancelledByParent'"))
        };
        let some_cancelled = tests.iter().any(|test| cancelled(&test.message));
        let failing = tests.iter_mut().filter(|test| test.status.is_failing());
        let explained = failing.filter(|test| !some_cancelled || cancelled(&test.message));
        for test in explained.take(if some_cancelled { usize::MAX } else { 1 }) {
            let message = test.message.get_or_insert_default();
            if message.len() + note.len() < limit {
                message.insert_str(0, &format!("{note}{}", if message.is_empty() { "" } else { "\n" }));
            }
        }
    }

    /// Gives the comments to the failed test that they follow: bats and Perl print their diagnostics so.
    pub(super) fn close_comments(&mut self) {
        let Some(last) = self.last.take() else { return };
        let Some(test) = last.test.and_then(|index| self.tests.get_mut(index)) else { return };
        let comments = last.comments.lines.iter().filter(|comment| !comment.starts_with("Subtest"));
        if test.status.is_failing() && test.message.is_none() {
            let message = comments.copied().collect::<Vec<_>>().join("\n");
            test.message = text::block(&message, self.limits.message_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    #[test]
    fn no_more_lines_are_kept_than_a_message_holds() {
        let mut kept = Kept::default();
        (0..1_000_000).for_each(|_| kept.push("", 100));
        assert_eq!(kept.lines.len(), 101);
        kept.push("x", 100);
        assert_eq!(kept.lines.len(), 101);
    }
}
