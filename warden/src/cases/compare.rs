//! Whether an output is the expected one, and how it differs. Pure.

use std::time::Duration;

use assize_protocol::cases::Compare;
use regex::bytes::RegexBuilder;
use similar::{Algorithm, TextDiff};

/// The longest difference that is shown, in lines.
const MAX_LINES: usize = 40;

/// The longest line of a difference, in characters.
const MAX_LINE: usize = 200;

/// Bytes of each side that are looked at for a difference to show.
const MAX_SIDE: usize = 64 << 10;

/// Time for finding a short difference.
const DIFF_TIME: Duration = Duration::from_millis(200);

/// Memory of a compiled expression, in bytes.
const MAX_EXPRESSION: usize = 1 << 20;

/// How an output differs from the expected one, for whoever may see the case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference(pub String);

/// `None` if the output is right.
///
/// # Errors
/// What is expected cannot be used, which is the grader's fault.
pub fn compare(how: &Compare, expected: &[u8], seen: &[u8]) -> Result<Option<Difference>, String> {
    let is_right = match how {
        Compare::Exact | Compare::Checker => expected == seen,
        Compare::Lines => lines(expected) == lines(seen),
        Compare::Tokens => words(expected).eq(words(seen)),
        Compare::Float(tolerance) => are_close(expected, seen, *tolerance),
        Compare::Regex => {
            let pattern = std::str::from_utf8(expected).map_err(|_| "the expression is not UTF-8".to_owned())?;
            // One line feed at the end of the file is the editor's.
            let pattern = pattern.strip_suffix('\n').unwrap_or(pattern);
            let whole = RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(MAX_EXPRESSION).build();
            let whole = whole.map_err(|error| format!("the expression cannot be used: {error}"))?;
            let seen = seen.strip_suffix(b"\n").unwrap_or(seen);
            return Ok(
                (!whole.is_match(seen)).then(|| Difference("the output does not match the expression".to_owned()))
            );
        }
    };
    Ok((!is_right).then(|| Difference(unified(expected, seen))))
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.trim_ascii_end().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect()
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn are_close(expected: &[u8], seen: &[u8], tolerance: f64) -> bool {
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<f64>().ok().filter(|number| number.is_finite());
    let (mut expected, mut seen) = (words(expected), words(seen));
    loop {
        match (expected.next(), seen.next()) {
            (None, None) => return true,
            (Some(left), Some(right)) if left == right => {}
            (Some(left), Some(right)) => {
                let (Some(left), Some(right)) = (number(left), number(right)) else { return false };
                if (left - right).abs() > tolerance * left.abs().max(1.0) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// The difference in the unified format, shortened.
fn unified(expected: &[u8], seen: &[u8]) -> String {
    let side = |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..MAX_SIDE).unwrap_or(bytes)).into_owned();
    let (left, right) = (side(expected), side(seen));
    let mut config = TextDiff::configure();
    config.algorithm(Algorithm::Myers).timeout(DIFF_TIME);
    let diff = config.diff_lines(&left, &right);
    let text = diff.unified_diff().context_radius(3).header("expected", "seen").to_string();
    let mut shown = String::new();
    for (count, line) in text.lines().enumerate() {
        if count == MAX_LINES - 1 {
            shown.push_str("... the rest is left out\n");
            break;
        }
        shown.extend(line.chars().take(MAX_LINE));
        shown.push('\n');
    }
    if shown.is_empty() {
        shown = format!("the outputs differ beyond their first {MAX_SIDE} bytes\n");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_right(how: &str, expected: &str, seen: &str) -> bool {
        let how = Compare::try_from(how.to_owned()).unwrap();
        compare(&how, expected.as_bytes(), seen.as_bytes()).unwrap().is_none()
    }

    #[test]
    fn each_way_to_compare_forgives_what_it_names_and_no_more() {
        for (how, expected, seen, right) in [
            ("exact", "a\n", "a\n", true),
            ("exact", "a\n", "a", false),
            ("lines", "a\nb\n", "a  \r\nb\n\n\n", true),
            ("lines", "a\nb\n", "a\n\nb\n", false),
            ("lines", "a\n", " a\n", false),
            ("lines", "", "\n", true),
            ("tokens", "a b\n", " a\n\tb", true),
            ("tokens", "a b", "ab", false),
            ("tokens", "a b", "a b c", false),
            ("tokens", "a b c", "a b", false),
            ("float:1e-6", "x 1.0 2", "x 1.0000005 2.000001", true),
            ("float:1e-6", "1000000", "1000000.5", true),
            ("float:1e-6", "1", "1.00001", false),
            ("float:1e-6", "1", "nan", false),
            ("float:1e-6", "1", "inf", false),
            ("float:1e-6", "nan", "nan", true),
            ("float:1e-6", "1 2", "1", false),
            ("float:1e-6", "x", "y", false),
            ("regex", "a+\n", "aaa\n", true),
            ("regex", "a", "a\n\n", false),
            ("regex", "a|b", "ac", false),
            ("regex", "(?s).*end", "one\ntwo end", true),
            ("regex", "a", "a\nb", false),
        ] {
            assert_eq!(is_right(how, expected, seen), right, "{how}: {expected:?} {seen:?}");
        }
    }

    #[test]
    fn an_expression_that_cannot_be_used_is_the_graders_fault() {
        for expected in [&b"("[..], b"\xff", b"a{1000}{1000}{1000}"] {
            assert!(compare(&Compare::Regex, expected, b"").is_err());
        }
    }

    /// Time that grows with the square of the input, or faster, would take hours here.
    #[test]
    fn no_output_makes_a_comparison_slow() {
        let evil = "a?".repeat(100) + &"a".repeat(100);
        assert!(is_right("regex", &evil, &"a".repeat(100)));
        let (left, right): (String, String) =
            (0..1_000_000).map(|at| (format!("{at}\n"), format!("{}\n", at * 7 % 1_000_003))).unzip();
        assert!(!is_right("exact", &left, &right));
    }

    #[test]
    fn a_difference_is_short_whatever_was_written() {
        let many: String = (0..1000).map(|at| format!("{at}\n")).collect();
        let long = "x".repeat(1 << 20);
        for (expected, seen) in
            [(many.as_str(), ""), ("", many.as_str()), (long.as_str(), "x"), ("", "\u{202e}\0\u{1b}[2J")]
        {
            let Difference(text) = compare(&Compare::Exact, expected.as_bytes(), seen.as_bytes()).unwrap().unwrap();
            assert!(text.lines().count() <= MAX_LINES, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= MAX_LINE), "{text}");
        }
        let Difference(text) = compare(&Compare::Exact, b"a\nb\nc\n", b"a\nx\nc\n").unwrap().unwrap();
        assert_eq!(text, "--- expected\n+++ seen\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
        let (left, right) = (long.clone() + "a", long + "b");
        let Difference(text) = compare(&Compare::Exact, left.as_bytes(), right.as_bytes()).unwrap().unwrap();
        assert!(text.contains("differ beyond their first 65536 bytes"), "{text}");
    }
}
