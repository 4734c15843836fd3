//! One line of TAP.

use crate::verdict::{text, whole_millis};

/// Bytes of a duration and its unit: more than any printer of numbers writes.
const MAX_DIGITS: usize = 32;

/// What a line says, its indentation aside.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// `TAP version 14`.
    Version(&'a str),
    /// `1..N`, with the reason of a `# SKIP`.
    Plan(u64, Option<&'a str>),
    /// `ok` or `not ok`.
    Point(Point),
    /// `Bail out!`, with its reason.
    BailOut(&'a str),
    /// `}`: the end of a buffered subtest, as Vitest and older node-tap write it.
    Brace,
    /// `{`: the beginning of one whose test point has diagnostics.
    Open,
    /// `# ...`.
    Comment(&'a str),
    /// Anything else; TAP 14 says to let it pass.
    Other,
}

/// A test point.
#[derive(Debug, PartialEq)]
pub(super) struct Point {
    pub(super) ok: bool,
    /// Its number, where it has one; one too large for 64 bits is outside every plan all the same.
    pub(super) number: Option<u64>,
    pub(super) description: String,
    pub(super) directive: Option<Directive>,
    pub(super) duration_ms: Option<u64>,
    /// Whether the line ends in `{`: the tests of a buffered subtest may follow.
    pub(super) opens: bool,
}

/// What takes a test point out of the score, with its reason.
#[derive(Debug, PartialEq)]
pub(super) enum Directive {
    Skip(String),
    Todo(String),
}

impl<'a> Line<'a> {
    /// Reads a line without its indentation and line end.
    pub(super) fn parse(content: &'a str) -> Self {
        if let Some(comment) = content.strip_prefix('#') {
            return Self::Comment(comment.trim());
        }
        if let Some(version) = content.strip_prefix("TAP version ") {
            return Self::Version(version.trim());
        }
        match content.trim_end() {
            "}" => return Self::Brace,
            "{" => return Self::Open,
            _ => {}
        }
        if let Some((head, reason)) = content.split_at_checked("bail out!".len())
            && head.eq_ignore_ascii_case("bail out!")
        {
            return Self::BailOut(reason.trim());
        }
        plan(content)
            .map(|(plan, reason)| Self::Plan(plan, reason))
            .or_else(|| point(content).map(Self::Point))
            .unwrap_or(Self::Other)
    }
}

fn plan(content: &str) -> Option<(u64, Option<&str>)> {
    let rest = content.strip_prefix("1..")?;
    let (digits, comment) = rest.split_once('#').unwrap_or((rest, ""));
    let digits = digits.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // `SKIP`, `skip all`, `Skipped:`, or the reason alone, as node-tap has it.
    let comment = comment.trim();
    let skip = comment.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("skip"));
    let reason = if skip { comment.split_once([' ', '\t']).map_or("", |(_, reason)| reason.trim()) } else { comment };
    Some((digits.parse().unwrap_or(u64::MAX), (!reason.is_empty()).then_some(reason)))
}

fn point(content: &str) -> Option<Point> {
    let (ok, rest) = match content.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, content.strip_prefix("ok")?),
    };
    // `okay` and `ok: ...` are something else.
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim();
    let opens = rest == "{" || rest.ends_with(" {");
    let rest = if opens { rest[..rest.len() - 1].trim_end() } else { rest };
    let (word, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let numbered = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let number = numbered.then(|| word.parse().unwrap_or(u64::MAX));
    let rest = if numbered { after.trim_start() } else { rest };
    let rest = rest.strip_prefix("- ").unwrap_or(if rest == "-" { "" } else { rest });
    let mut point = Point { ok, number, description: String::new(), directive: None, duration_ms: None, opens };
    point.description = directives(rest, &mut point);
    Some(point)
}

/// Splits the directives off a description; what is left is unescaped.
///
/// A `#` begins a directive only where it is not escaped, follows white space or nothing, and is followed by SKIP, TODO
/// or `time=` (node-tap's). Any other one belongs to the description.
fn directives(text: &str, point: &mut Point) -> String {
    let bytes = text.as_bytes();
    let (mut at, mut end) = (0, text.len());
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'#' if at == 0 || bytes[at - 1].is_ascii_whitespace() => {
                let word = text[at + 1..].trim_start();
                if let Some(directive) = directive(word) {
                    point.directive = Some(directive);
                    end = end.min(at);
                    break;
                }
                if let Some(time) = word.strip_prefix("time=") {
                    point.duration_ms = millis(time);
                    end = end.min(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    unescape(text[..end].trim_end())
}

/// The number before `ms`. Looked for no further than a number is long: a line may have a hundred thousand of these.
fn millis(time: &str) -> Option<u64> {
    let (number, _) = text::prefix(time, MAX_DIGITS).split_once("ms")?;
    whole_millis(number.trim().parse().ok()?)
}

fn directive(text: &str) -> Option<Directive> {
    let (word, reason) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let keyword = word.get(..4)?.to_ascii_lowercase();
    match keyword.as_str() {
        // TAP 13 lets the word go on: `Skipped:`.
        "skip" => Some(Directive::Skip(unescape(reason.trim()))),
        "todo" if !word[4..].starts_with(|c: char| c.is_alphanumeric()) => {
            Some(Directive::Todo(unescape(reason.trim())))
        }
        _ => None,
    }
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some(&escaped @ ('\\' | '#'))) => {
                plain.push(escaped);
                rest.next();
            }
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Point {
        match Line::parse(line) {
            Line::Point(point) => point,
            other => panic!("{line:?} is {other:?}"),
        }
    }

    #[test]
    fn a_point_has_its_number_and_description() {
        for (line, ok, number, description) in [
            ("ok", true, None, ""),
            ("not ok", false, None, ""),
            ("ok 7", true, Some(7), ""),
            ("ok 7 -", true, Some(7), ""),
            ("not ok 7 - adds up", false, Some(7), "adds up"),
            ("ok 7 adds up", true, Some(7), "adds up"),
            ("ok - 7 apples", true, None, "7 apples"),
            ("ok adds up", true, None, "adds up"),
            ("ok 99999999999999999999 - x", true, Some(u64::MAX), "x"),
            ("ok 1 - a \\# b \\\\ c \\n", true, Some(1), "a # b \\ c \\n"),
            ("ok 1 - issue #12 and # nothing", true, Some(1), "issue #12 and # nothing"),
        ] {
            let point = read(line);
            assert_eq!((point.ok, point.number, point.description.as_str()), (ok, number, description), "{line}");
            assert_eq!(point.directive, None, "{line}");
        }
    }

    #[test]
    fn a_directive_is_read_in_any_case_and_only_unescaped() {
        assert_eq!(read("ok 1 - x # SKIP no net").directive, Some(Directive::Skip("no net".to_owned())));
        assert_eq!(read("ok 1 # Skipped: no net").directive, Some(Directive::Skip("no net".to_owned())));
        assert_eq!(read("not ok 1 - x #todo").directive, Some(Directive::Todo(String::new())));
        assert_eq!(read("not ok 1 - x \\# TODO").directive, None);
        assert_eq!(read("not ok 1 - x # todoist").directive, None);
        assert_eq!(read("not ok 1 - x\\\\ # TODO y").directive, Some(Directive::Todo("y".to_owned())));
        let both = read("ok 1 - x # time=12.6ms # SKIP y");
        assert_eq!(both.duration_ms, Some(13));
        assert_eq!(both.description, "x");
        assert_eq!(both.directive, Some(Directive::Skip("y".to_owned())));
    }

    #[test]
    fn a_brace_at_the_end_opens_a_subtest() {
        for (line, opens, description) in [
            ("ok 1 - a # time=1ms {", true, "a"),
            ("ok 1 - {", true, ""),
            ("ok 1 {", true, ""),
            ("ok 1 - a{", false, "a{"),
            ("ok 1 - a", false, "a"),
        ] {
            let point = read(line);
            assert_eq!((point.opens, point.description.as_str()), (opens, description), "{line}");
        }
    }

    #[test]
    fn what_only_looks_like_tap_is_let_pass() {
        for line in ["okay", "not okay", "ok: done", "notok 1", "1..", "1..x", "2..3", "1..-3", "Ok 1", ""] {
            assert_eq!(Line::parse(line), Line::Other, "{line}");
        }
        assert_eq!(Line::parse("1..0 # SKIP no net"), Line::Plan(0, Some("no net")));
        assert_eq!(Line::parse("1..0 # Skipped: no net"), Line::Plan(0, Some("no net")));
        assert_eq!(Line::parse("1..0 # no tests found"), Line::Plan(0, Some("no tests found")));
        assert_eq!(Line::parse("1..0"), Line::Plan(0, None));
        assert_eq!(Line::parse("bail OUT! no database "), Line::BailOut("no database"));
    }
}
