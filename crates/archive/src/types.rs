//! The file types that a template accepts, by name and by the first bytes.

use super::{ArchiveProblem, name};
use assize_protocol::content::Content;
use serde::Deserialize;

/// The longest list of patterns, and the longest pattern in bytes: each entry is compared with each pattern.
const MAX_PATTERNS: usize = 200;
const MAX_PATTERN_BYTES: usize = 64;

/// Bytes of a message that the allowed patterns may take up.
const SHOWN_BYTES: usize = 200;

/// The accepted file types; by default all.
///
/// A pattern with a dot at its beginning is the end of a file's name (`.py`, `.tar.gz`), any other one is a whole name
/// without its folders (`Makefile`). Upper and lower case of ASCII are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileTypes {
    /// Accepted patterns; if empty, all files are accepted.
    pub allow: Vec<String>,
    /// Refused patterns, even if `allow` has them.
    pub deny: Vec<String>,
    /// Refused kinds of content, by the first bytes of a file. They are checked in the cell, where files are unpacked,
    /// and before that for files that the archive stores uncompressed.
    pub deny_content: Vec<Content>,
}

impl FileTypes {
    /// Checks the lists themselves.
    ///
    /// # Errors
    /// The first pattern that cannot match, or a list that is too long, in words.
    pub fn check(&self) -> Result<(), String> {
        for (key, list) in [("allow", &self.allow), ("deny", &self.deny)] {
            if list.len() > MAX_PATTERNS {
                return Err(format!("archive.{key} has {} patterns, the limit is {MAX_PATTERNS}", list.len()));
            }
            let usable = |pattern: &str| {
                (1..=MAX_PATTERN_BYTES).contains(&pattern.len())
                    && pattern != "."
                    && !pattern.contains(['/', '*', '?'])
                    && !pattern.chars().any(char::is_control)
            };
            if let Some(pattern) = list.iter().find(|pattern| !usable(pattern)) {
                return Err(format!(
                    "archive.{key} has {pattern:?}; a pattern is the end of a name (.py) or a whole name (Makefile), \
                     1 to {MAX_PATTERN_BYTES} bytes without wildcards"
                ));
            }
        }
        Ok(())
    }

    /// Checks a file's name, without its folders, against the lists. `path` is for the message.
    pub(super) fn check_name(&self, path: &str, file: &str) -> Result<(), ArchiveProblem> {
        let shown = || name::shown(path.as_bytes());
        if let Some(pattern) = self.deny.iter().find(|pattern| matches(pattern, file)) {
            return Err(ArchiveProblem::TypeDenied { name: shown(), pattern: pattern.clone() });
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|pattern| matches(pattern, file)) {
            let mut allowed = self.allow.join(", ");
            if let Some((cut, _)) = allowed.char_indices().find(|(at, _)| *at >= SHOWN_BYTES) {
                allowed.truncate(cut);
                allowed.push('…');
            }
            return Err(ArchiveProblem::TypeNotAllowed { name: shown(), allowed });
        }
        Ok(())
    }

    /// Checks the first bytes of a file against the list.
    pub(super) fn check_head(&self, path: &str, head: &[u8]) -> Result<(), ArchiveProblem> {
        match Content::detect(head) {
            Some(content) if self.deny_content.contains(&content) => {
                Err(ArchiveProblem::ContentDenied { name: name::shown(path.as_bytes()), content })
            }
            _ => Ok(()),
        }
    }
}

fn matches(pattern: &str, file: &str) -> bool {
    if !pattern.starts_with('.') {
        return pattern.eq_ignore_ascii_case(file);
    }
    let (pattern, file) = (pattern.as_bytes(), file.as_bytes());
    file.len() >= pattern.len() && file[file.len() - pattern.len()..].eq_ignore_ascii_case(pattern)
}

#[cfg(test)]
mod tests {
    use super::super::crafted::{Ending, Member, archive, file, folder, spooled};
    use super::super::{ScanLimits, scan};
    use super::*;

    fn types(allow: &[&str], deny: &[&str], deny_content: &[Content]) -> FileTypes {
        let owned = |list: &[&str]| list.iter().map(|pattern| (*pattern).to_owned()).collect();
        FileTypes { allow: owned(allow), deny: owned(deny), deny_content: deny_content.to_vec() }
    }

    fn code(types: FileTypes, members: &[Member]) -> &'static str {
        let limits = ScanLimits { types, ..ScanLimits::default() };
        scan(&spooled(&archive(members, &Ending::default())), &limits)
            .map_or_else(|problem| problem.code(), |_| "accepted")
    }

    #[test]
    fn names_are_held_to_both_lists() {
        let rules = types(&[".py", ".tar.gz", "Makefile"], &[".pyc", "secret.py"], &[]);
        for (name, expected) in [
            ("main.py", "accepted"),
            ("src/MAIN.PY", "accepted"),
            ("makefile", "accepted"),
            ("a/data.tar.gz", "accepted"),
            (".py", "accepted"),
            ("data.gz", "type_not_allowed"),
            ("main.py/run", "type_not_allowed"),
            ("py", "type_not_allowed"),
            ("Makefile.txt", "type_not_allowed"),
            ("a.pyc", "type_denied"),
            ("src/Secret.py", "type_denied"),
        ] {
            assert_eq!(code(rules.clone(), &[folder("docs.d/"), file(name)]), expected, "{name}");
        }
        assert_eq!(code(FileTypes::default(), &[file("a.exe")]), "accepted");
    }

    #[test]
    fn stored_files_are_known_by_their_first_bytes() {
        let elf = |name| Member { data: b"\x7fELF".to_vec(), packed: 4, unpacked: 4, ..file(name) };
        let zip = |name| Member { data: b"PK\x03\x04".to_vec(), packed: 4, unpacked: 4, ..file(name) };
        let both = types(&[], &[], &[Content::Program, Content::Archive]);
        assert_eq!(code(both.clone(), &[elf("notes.txt")]), "content_denied");
        assert_eq!(code(both.clone(), &[zip("photo.jpg")]), "content_denied");
        assert_eq!(code(both, &[file("a")]), "accepted");
        assert_eq!(code(types(&[], &[], &[Content::Archive]), &[elf("a")]), "accepted");
        // What is compressed is looked at where it is unpacked.
        let packed = Member { method: 8, ..elf("a") };
        assert_eq!(code(types(&[], &[], &[Content::Program]), &[packed]), "accepted");
    }

    #[test]
    fn a_pattern_that_cannot_match_is_an_error() {
        for pattern in ["", ".", "*.py", "src/a.py", "a?", &"x".repeat(65), "a\n"] {
            let error = types(&[pattern], &[], &[]).check().unwrap_err();
            assert!(error.contains("archive.allow has"), "{error}");
        }
        assert!(types(&[".py"], &["Makefile"], &[]).check().is_ok());
        assert!(FileTypes { deny: vec![".a".to_owned(); 201], ..FileTypes::default() }.check().is_err());
    }
}
