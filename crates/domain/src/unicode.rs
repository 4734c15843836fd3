//! Deceptive characters: characters that no screen shows, and names that differ only in such characters or in case.
//!
//! Text from outside (names of tests and users, output, files, hosts, answers of services) reaches terminals and
//! logs. Characters that reorder a line, end it, or are not seen let it say something else than is read. The
//! command line (`terminal` of the client) and the log (`assize_observe`) both ask [`is_hidden`] and write an
//! escape instead, so that the reader sees that there was something, and what.

mod fold;

pub use fold::fold;

use std::borrow::Cow;
use std::fmt::Write;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// `Default_Ignorable_Code_Point` of Unicode, first and last of each range: what a screen that does not know it
/// shows nothing for. Marks, fillers and selectors are in it that are of no category that says so.
const IGNORABLE: [(char, char); 17] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// The one blank of the Braille letters; it is of the category of symbols.
const BRAILLE_BLANK: char = '\u{2800}';

/// Whether a character must not reach a screen or a log as it is: controls (Cc), format characters with all of
/// `Bidi_Control` (Cf), separators of lines and paragraphs (Zl, Zp), private and unassigned ones, whose look and
/// direction nobody knows (Co, Cn), [`IGNORABLE`] ones with the Hangul fillers, and the blank of Braille.
///
/// Joiners in words and selectors in emoji are of this kind too: they are escaped like all others, because what
/// they do to the text around them is unknown here.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned};
    if matches!(c, ' '..='~') {
        return false;
    }
    let of_category = matches!(
        c.general_category(),
        Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned
    );
    of_category || is_ignorable(c) || c == BRAILLE_BLANK
}

fn is_ignorable(c: char) -> bool {
    IGNORABLE.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// `text` with an escape, as Rust writes it, for each hidden character but those that are `kept`.
pub fn escaped(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    replaced(text, kept, |c, shown| write!(shown, "\\u{{{:x}}}", u32::from(c)))
}

/// The escape sequences that the log's formatter and the command line make: none hides, moves or clears anything.
pub const COLOURS: [&str; 10] = [
    "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[35m", "\x1b[36m",
];

/// One line with an escape for each hidden character, but for tabs and [`COLOURS`].
#[must_use]
pub fn coloured(line: &str) -> Cow<'_, str> {
    if !line.contains('\x1b') {
        return escaped(line, |c| c == '\t');
    }
    let mut shown = String::with_capacity(line.len());
    // Each piece but the first begins with an escape sequence, or with what wants to be one.
    for (at, piece) in line.split('\x1b').enumerate() {
        let colour = COLOURS.iter().find(|colour| at > 0 && piece.starts_with(&colour[1..]));
        match colour {
            Some(colour) => shown.push_str(colour),
            None if at > 0 => shown.push_str(&escaped("\x1b", |_| false)),
            None => {}
        }
        shown.push_str(&escaped(&piece[colour.map_or(0, |colour| colour.len() - 1)..], |c| c == '\t'));
    }
    Cow::Owned(shown)
}

/// A JSON document of the same value without hidden characters.
#[must_use]
pub fn escaped_json(document: &str) -> Cow<'_, str> {
    // Raw ones can only stand within a text there, but for those that JSON itself puts between its tokens.
    replaced(
        document,
        |c| matches!(c, '\t' | '\n' | '\r'),
        |c, shown| c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(shown, "\\u{unit:04x}")),
    )
}

/// An XML document of the same content without hidden characters; it has no CDATA.
#[must_use]
pub fn escaped_xml(document: &str) -> Cow<'_, str> {
    replaced(
        document,
        |c| matches!(c, '\t' | '\n' | '\r'),
        |c, shown| {
            // What XML has no reference for would make it no document.
            let is_allowed = !matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
            if is_allowed { write!(shown, "&#x{:x};", u32::from(c)) } else { shown.write_char('\u{fffd}') }
        },
    )
}

fn replaced(
    text: &str,
    kept: impl Fn(char) -> bool,
    write: impl Fn(char, &mut String) -> std::fmt::Result,
) -> Cow<'_, str> {
    let is_replaced = |c: char| is_hidden(c) && !kept(c);
    if !text.contains(is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if !is_replaced(c) {
            shown.push(c);
        } else if write(c, &mut shown).is_err() {
            // A String takes everything.
            shown.push('\u{fffd}');
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reorders_ends_or_hides_is_hidden_and_letters_are_not() {
        let hidden = "\0\u{7}\u{1b}\r\u{7f}\u{85}\u{9b}\u{ad}\u{34f}\u{600}\u{61c}\u{6dd}\u{70f}\u{115f}\u{1160}\u{17b4}\
            \u{180b}\u{180e}\u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\
            \u{206f}\u{2800}\u{3164}\u{e000}\u{fe0f}\u{feff}\u{ffa0}\u{fff0}\u{fff9}\u{fffa}\u{fffb}\u{fffe}\u{110bd}\
            \u{13430}\u{1bca0}\u{1d173}\u{e0001}\u{e0041}\u{e007f}\u{e0100}\u{e0fff}\u{f0000}\u{10ffff}\u{378}";
        for c in hidden.chars() {
            assert!(is_hidden(c), "{:x}", u32::from(c));
        }
        for c in " ~aäßñΩжशषعא中한글ไท🎓✔½™\u{301}\u{3000}\u{a0}\u{fffd}".chars() {
            assert!(!is_hidden(c), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn an_escape_says_what_was_there() {
        assert_eq!(escaped("a\u{202e}b\n", |c| c == '\n'), "a\\u{202e}b\n");
        assert!(matches!(escaped("plain ü", |_| false), Cow::Borrowed("plain ü")));
        assert_eq!(coloured("a\x1b[8mb\x1b[31mc\x1b"), "a\\u{1b}[8mb\x1b[31mc\\u{1b}");
    }

    #[test]
    fn a_document_keeps_its_value() {
        let value = serde_json::json!({ "a\u{202e}": ["\u{e0041}\u{7f}\u{2028}é", "\u{1b}"] });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = escaped_json(&text);
        assert!(shown.chars().all(|c| c == '\n' || !is_hidden(c)), "{shown:?}");
        assert!(shown.contains("\\u202e") && shown.contains("\\udb40\\udc41"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert_eq!(escaped_xml("<a b=\"\u{202e}\">\u{fffe}\n</a>"), "<a b=\"&#x202e;\">\u{fffd}\n</a>");
    }
}
