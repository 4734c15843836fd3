//! Patterns for the names of files and folders.

use std::fmt;

use crate::wildcard;

/// The longest pattern in bytes.
pub(super) const MAX_BYTES: usize = 64;

/// A pattern for one component of a name, wherever in the archive it lies. A slash at the end makes it match folders
/// only, one `*` stands for any characters, and upper and lower case of ASCII are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern<'a> {
    whole: &'a str,
    /// Without the slash at the end.
    name: &'a str,
    is_folder: bool,
}

impl<'a> Pattern<'a> {
    /// Reads a pattern; `None` if it cannot match any name.
    #[must_use]
    pub fn parse(whole: &'a str) -> Option<Self> {
        let (name, is_folder) = whole.strip_suffix('/').map_or((whole, false), |name| (name, true));
        let is_usable = whole.len() <= MAX_BYTES
            && !matches!(name, "" | "." | ".." | "*")
            && !name.contains(['/', '\\', '\0'])
            && name.matches('*').count() <= 1;
        is_usable.then_some(Self { whole, name, is_folder })
    }

    /// Whether the pattern matches a component, of a folder or of a file.
    #[must_use]
    pub fn matches(&self, component: &str, is_folder: bool) -> bool {
        let is_same = |one: u8, other: u8| one.eq_ignore_ascii_case(&other);
        (is_folder || !self.is_folder) && wildcard::matches(self.name.as_bytes(), component.as_bytes(), b'*', is_same)
    }
}

impl fmt::Display for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_pattern_matches_one_component() {
        for (pattern, component, is_folder, expected) in [
            ("Thumbs.db", "thumbs.DB", false, true),
            ("Thumbs.db", "Thumbs.db2", false, false),
            ("._*", "._app.py", false, true),
            ("._*", "._", true, true),
            ("._*", "a._b", false, false),
            ("*.pyc", "a.PYC", false, true),
            ("*.pyc", ".pyc", false, true),
            ("a*a", "a", false, false),
            ("a*a", "aa", false, true),
            ("venv/", "venv", true, true),
            ("venv/", "venv", false, false),
            (".git", ".git", true, true),
            (".git", ".git", false, true),
            ("Icon\r", "Icon\r", false, true),
            ("é*", "éa", false, true),
        ] {
            let parsed = Pattern::parse(pattern).expect("usable");
            assert_eq!(parsed.matches(component, is_folder), expected, "{pattern:?} on {component:?}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_match_is_none() {
        for pattern in ["", "/", ".", "..", "*", "*/", "a/b", "a\\b", "a*b*c", "a\0", &"x".repeat(65)] {
            assert_eq!(Pattern::parse(pattern), None, "{pattern:?}");
        }
    }
}
