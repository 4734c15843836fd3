//! The rules for names of entries.

use super::fault::NameFault;
use super::{ArchiveProblem, ScanLimits};

/// Characters of a name that a message quotes.
const SHOWN_CHARS: usize = 120;

/// Names that Windows gives to devices, with any extension (Microsoft, "Naming Files, Paths, and Namespaces").
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Holds a name to the rules. Returns it without a slash at its end, and whether there was one: then it is a folder.
pub(super) fn check(raw: &[u8], limits: &ScanLimits) -> Result<(String, bool), ArchiveProblem> {
    let name = || shown(raw);
    let bad = |fault| Err(ArchiveProblem::BadName { name: name(), fault });
    if raw.contains(&0) {
        return Err(ArchiveProblem::NulInName { name: name() });
    }
    if raw.starts_with(b"//") || raw.starts_with(b"\\\\") {
        return Err(ArchiveProblem::UncPath { name: name() });
    }
    if raw.contains(&b'\\') {
        return Err(ArchiveProblem::Backslash { name: name() });
    }
    let is_drive = matches!(raw, [letter, b':', ..] if letter.is_ascii_alphabetic());
    if is_drive {
        return Err(ArchiveProblem::DrivePath { name: name() });
    }
    if raw.starts_with(b"/") {
        return Err(ArchiveProblem::AbsolutePath { name: name() });
    }
    let Ok(text) = std::str::from_utf8(raw) else { return bad(NameFault::NotUtf8) };
    let (path, is_folder) = text.strip_suffix('/').map_or((text, false), |path| (path, true));
    if path.is_empty() {
        return bad(NameFault::Empty);
    }
    if path.chars().any(char::is_control) {
        return bad(NameFault::Control);
    }
    if path.chars().any(is_invisible) {
        return bad(NameFault::Invisible);
    }
    let depth = path.split('/').count() as u64;
    if depth > limits.max_depth {
        return Err(ArchiveProblem::TooDeep { name: name(), limit: limits.max_depth, seen: depth });
    }
    for component in path.split('/') {
        match component {
            "" => return bad(NameFault::EmptyComponent),
            "." => return bad(NameFault::Dot),
            ".." => return Err(ArchiveProblem::PathOutside { name: name() }),
            _ => {}
        }
        if component.ends_with(['.', ' ']) {
            return bad(NameFault::TrailingDot);
        }
        if component.eq_ignore_ascii_case(".git") || component.eq_ignore_ascii_case("git~1") {
            return Err(ArchiveProblem::GitFolder { name: name() });
        }
        if is_device(component) {
            return bad(NameFault::Reserved);
        }
    }
    Ok((path.to_owned(), is_folder))
}

/// Whether `component` is a device on Windows: a device's name up to the first dot or colon.
fn is_device(component: &str) -> bool {
    let stem = component.split(['.', ':']).next().unwrap_or_default().trim_end().to_uppercase();
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    DEVICES.contains(&stem.as_str())
        || port
            .is_some_and(|digit| matches!(digit, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"))
}

/// Characters that make a name look like another: zero-width ones, marks, overrides and isolates of direction, line
/// separators. HFS+ ignores some of them, so `.g\u{200c}it` is `.git` there.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A name for a message: escaped, and at most 120 characters long.
pub(super) fn shown(raw: &[u8]) -> String {
    // More bytes than 120 characters can have are not worth escaping.
    let head = &raw[..raw.len().min(SHOWN_CHARS * 4)];
    let escaped: Vec<char> = String::from_utf8_lossy(head).chars().flat_map(char::escape_debug).collect();
    if escaped.len() <= SHOWN_CHARS && head.len() == raw.len() {
        return escaped.into_iter().collect();
    }
    escaped.into_iter().take(SHOWN_CHARS - 1).chain(['…']).collect()
}
