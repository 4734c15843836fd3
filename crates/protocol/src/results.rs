//! The path of a report: one file, or all files of a folder whose names match a pattern.

use crate::wildcard;

/// Files that a pattern may match; what matches more is refused. Surefire writes one file for each class.
pub const MAX_FILES: usize = 1_000;

/// What a path of results names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultsPath<'a> {
    /// The file at this path.
    File(&'a str),
    /// The files of a folder whose names match.
    Pattern {
        /// The folder, absolute.
        folder: &'a str,
        /// A name in which each `*` stands for any number of characters.
        name: &'a str,
    },
}

impl<'a> ResultsPath<'a> {
    /// Reads a path: it is a pattern if its last component has a `*`.
    ///
    /// # Errors
    /// Another component has a `*`, or the last one has two in a row: what that would mean is not known.
    pub fn parse(path: &'a str) -> Result<Self, String> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if folder.contains('*') {
            return Err(format!("{path:?} has a `*` in a folder, it may only stand in the name of the file"));
        }
        if name.contains("**") {
            return Err(format!("{path:?} has `**`, one `*` already stands for any number of characters"));
        }
        Ok(if name.contains('*') { Self::Pattern { folder, name } } else { Self::File(path) })
    }
}

/// Whether a name matches a pattern. As in a shell, no name that begins with a dot matches a pattern that does not.
#[must_use]
pub fn matches(pattern: &str, name: &[u8]) -> bool {
    let pattern = pattern.as_bytes();
    let is_hidden = name.first() == Some(&b'.') && pattern.first() != Some(&b'.');
    !is_hidden && wildcard::matches(pattern, name, b'*', |one, other| one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_in_the_name_makes_a_pattern() {
        assert_eq!(ResultsPath::parse("/a/b.xml"), Ok(ResultsPath::File("/a/b.xml")));
        assert_eq!(ResultsPath::parse("/a/*.xml"), Ok(ResultsPath::Pattern { folder: "/a", name: "*.xml" }));
        assert_eq!(ResultsPath::parse("/*"), Ok(ResultsPath::Pattern { folder: "", name: "*" }));
        assert!(ResultsPath::parse("/*/b.xml").is_err_and(|why| why.contains("in a folder")));
        assert!(ResultsPath::parse("/a/**").is_err_and(|why| why.contains("`**`")));
    }

    #[test]
    fn a_star_stands_for_any_number_of_characters() {
        for (pattern, name, matched) in [
            ("*.xml", "a.xml", true),
            ("*.xml", ".xml", false),
            (".*", ".xml", true),
            ("*.xml", "a.xml.old", false),
            ("TEST-*.xml", "TEST-.xml", true),
            ("TEST-*.xml", "TEST-a.xml.xml", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("*", "a", true),
            ("a", "b", false),
            ("a", "ab", false),
            ("ab", "a", false),
        ] {
            assert_eq!(matches(pattern, name.as_bytes()), matched, "{pattern} {name}");
        }
        let (many, long) = ("*a".repeat(100), "a".repeat(255));
        assert!(matches(&many, long.as_bytes()) && !matches(&format!("{many}*b"), long.as_bytes()));
    }
}
