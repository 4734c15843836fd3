//! Text that came out of a cell: repaired, made visible, and cut to size.
//!
//! [`line()`] and [`block`] leave alone what they returned before, so a verdict that is written and read again keeps
//! its names and messages.

/// Ends a message that was cut.
const CUT_MESSAGE: &str = "\n[... cut: the message was longer than what is kept]";

/// Ends a name that was cut.
pub(super) const CUT_NAME: &str = "[...]";

/// Characters of a report that an error message quotes.
const EXCERPT_CHARS: usize = 80;

/// A name: one line, trimmed, no control characters, at most `limit` bytes.
pub(super) fn line(raw: &str, limit: usize) -> String {
    let breaks = ['\n', '\t', '\u{2028}', '\u{2029}'];
    let one_line: String = visible(raw).chars().map(|c| if breaks.contains(&c) { ' ' } else { c }).collect();
    let trimmed = one_line.trim();
    if trimmed.len() <= limit {
        return trimmed.to_owned();
    }
    // Whatever is cut must not end in a space: it would be trimmed when it is read again.
    format!("{}{CUT_NAME}", prefix(trimmed, limit.saturating_sub(CUT_NAME.len())))
}

/// A message: no control characters but newline and tab, without blank ends, at most `limit` bytes.
pub(super) fn block(raw: &str, limit: usize) -> Option<String> {
    let shown = visible(raw);
    let trimmed = shown.trim_end().trim_start_matches(['\n', '\r']);
    match trimmed.len() {
        0 => None,
        len if len <= limit => Some(trimmed.to_owned()),
        _ => Some(format!("{}{CUT_MESSAGE}", prefix(trimmed, limit.saturating_sub(CUT_MESSAGE.len())))),
    }
}

/// A piece of the report for an error message.
pub(super) fn excerpt(raw: &str) -> String {
    let head = prefix(raw, EXCERPT_CHARS * 8);
    let mut shown: String = line(head, usize::MAX).chars().take(EXCERPT_CHARS).collect();
    if head.len() < raw.len() || shown.chars().count() == EXCERPT_CHARS {
        shown.push('…');
    }
    shown
}

/// The longest beginning of `text` that has at most `limit` bytes and ends between two characters.
pub(super) fn prefix(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

/// Makes text fit for XML 1.0 and for Postgres: terminal colours go, line ends become `\n`, other control
/// characters become their pictures (U+2400 and up), and U+FFFE and U+FFFF become U+FFFD.
fn visible(raw: &str) -> String {
    let mut shown = String::with_capacity(raw.len());
    let mut rest = raw.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' if rest.peek() == Some(&'[') => {
                rest.next();
                // A control sequence: parameters, then one final byte in @..~ (ECMA-48, 5.4).
                while rest.peek().is_some_and(|c| matches!(c, ' '..='?')) {
                    rest.next();
                }
                if rest.peek().is_some_and(|c| matches!(c, '@'..='~')) {
                    rest.next();
                }
            }
            '\r' => {
                if rest.peek() != Some(&'\n') {
                    shown.push('\n');
                }
            }
            '\n' | '\t' => shown.push(c),
            '\0'..='\x1f' => shown.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)),
            '\x7f' => shown.push('\u{2421}'),
            // A C1 control: a terminal obeys some, and a next-line character (U+0085) would split the name.
            '\u{80}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => shown.push(char::REPLACEMENT_CHARACTER),
            _ => shown.push(c),
        }
    }
    shown
}
