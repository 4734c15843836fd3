//! The encoding of a report: UTF-8 unless its first bytes or its XML declaration say otherwise.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::{Format, ParseError, text};

/// Bytes in which an XML declaration ends.
const MAX_DECLARATION: usize = 256;

/// Decodes a report. Bad bytes become U+FFFD, a byte order mark goes. The text has at most three times as many bytes.
///
/// A byte order mark outranks the declaration, as the bytes outrank it: .NET declares `utf-16` in what it writes as
/// UTF-8.
///
/// # Errors
///
/// [`ParseError::Encoding`] for UTF-32, and for an unknown or a stateful encoding in the declaration.
pub(super) fn decode(bytes: &[u8], format: Format) -> Result<Cow<'_, str>, ParseError> {
    let utf_32 = |how: &str| Err(ParseError::Encoding { seen: format!("UTF-32 (by its {how})") });
    match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => utf_32("byte order mark"),
        [b'<' | b'{', 0, 0, 0, ..] | [0, 0, 0, b'<' | b'{', ..] => utf_32("first bytes"),
        [0xEF, 0xBB, 0xBF, rest @ ..] => Ok(UTF_8.decode_without_bom_handling(rest).0),
        [0xFF, 0xFE, rest @ ..] => Ok(UTF_16LE.decode_without_bom_handling(rest).0),
        [0xFE, 0xFF, rest @ ..] => Ok(UTF_16BE.decode_without_bom_handling(rest).0),
        [b'<' | b'{', 0, ..] => Ok(UTF_16LE.decode_without_bom_handling(bytes).0),
        [0, b'<' | b'{', ..] => Ok(UTF_16BE.decode_without_bom_handling(bytes).0),
        _ => {
            let label = if format == Format::Junit { declared(bytes) } else { None };
            let encoding = label.map_or(Ok(UTF_8), of_label)?;
            Ok(encoding.decode_without_bom_handling(bytes).0)
        }
    }
}

/// The encoding of bytes that begin with `<?xml` in ASCII and declare `label`.
///
/// # Errors
///
/// [`ParseError::Encoding`] for one that is unknown or stateful.
pub(super) fn of_label(label: &str) -> Result<&'static Encoding, ParseError> {
    match Encoding::for_label(label.as_bytes()) {
        Some(encoding) if encoding.is_ascii_compatible() => Ok(encoding),
        // Whoever wrote the declaration in ASCII did not write UTF-16.
        Some(encoding) if encoding == UTF_16LE || encoding == UTF_16BE => Ok(UTF_8),
        _ => Err(ParseError::Encoding { seen: text::excerpt(label) }),
    }
}

/// The encoding that an XML declaration at the beginning names.
fn declared(bytes: &[u8]) -> Option<&str> {
    let head = bytes.trim_ascii_start();
    let head = head.get(..MAX_DECLARATION).unwrap_or(head).strip_prefix(b"<?xml")?;
    let end = head.windows(2).position(|two| two == b"?>")?;
    let declaration = std::str::from_utf8(&head[..end]).ok()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value[1..].split_once(quote).map(|(label, _)| label)
}
