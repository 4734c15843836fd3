//! Which files of a cell a run hands out, and how both ends name them.

mod media_type;
mod pattern;

use serde::{Deserialize, Serialize};

pub use media_type::{extension_of, extensions, media_type_of};
pub use pattern::{MAX_PATTERN_BYTES, MAX_PATTERN_PARTS, Pattern, Walked};

/// Patterns of one cell.
pub const MAX_PATTERNS: usize = 32;

/// Artifacts of one cell: each is a row, a blob and an entry of the signed statement.
pub const MAX_FILES: u32 = 256;

/// Bytes of all artifacts of one cell. The journal of a cell has room for them beside everything else.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The longest name of an artifact, in bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// Folders above a file, counted from the root of the cell.
pub const MAX_DEPTH: usize = 16;

/// How long a warden may take to collect and send the artifacts of its cell, in ms.
pub const TIMEOUT_MS: u64 = 20_000;

/// Files that the report of a warden names as left out; it counts the others.
pub const MAX_LEFT_OUT: usize = 20;

/// The longest name in that list, in characters as [`quoted`] writes them.
pub const MAX_QUOTED_CHARS: usize = 200;

/// What to hand out when every process is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRules {
    /// What files are handed out: [`Pattern`].
    pub patterns: Vec<String>,
    /// Files, at most [`MAX_FILES`].
    pub max_files: u32,
    /// Bytes of all files together, at most [`MAX_BYTES`].
    pub max_bytes: u64,
    /// Extensions that files must have, of [`extensions`].
    pub extensions: Vec<String>,
}

impl ArtifactRules {
    /// What must hold of the rules.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MAX_PATTERNS).contains(&self.patterns.len()) {
            return Err(format!("there are {} patterns, there must be 1 to {MAX_PATTERNS}", self.patterns.len()));
        }
        for pattern in &self.patterns {
            Pattern::parse(pattern)?;
        }
        if !(1..=MAX_FILES).contains(&self.max_files) {
            return Err(format!("{} files are allowed, it must be 1 to {MAX_FILES}", self.max_files));
        }
        if !(1..=MAX_BYTES).contains(&self.max_bytes) {
            return Err(format!("{} bytes are allowed, it must be 1 to {MAX_BYTES}", self.max_bytes));
        }
        match self.extensions.iter().find(|extension| media_type_of(extension).is_none()) {
            Some(unknown) => Err(format!("{unknown:?} is no extension of an artifact")),
            None => Ok(()),
        }
    }
}

/// An artifact begins: the `Artifact` frames that follow are of this file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactStarted {
    /// Its path in the cell without the first slash.
    pub name: String,
}

/// An artifact ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactEnded {
    /// The file was sent whole and has this many bytes.
    Bytes(u64),
    /// What was sent of the file does not count, for this reason.
    LeftOut(String),
}

/// A file that was not handed out although a pattern names it, or a folder that could not be looked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name, [`quoted`].
    pub name: String,
    /// Why, in words.
    pub reason: String,
}

/// What became of the artifacts of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactsReport {
    /// Files that were sent whole.
    pub sent: u32,
    /// Bytes of these files together.
    pub bytes: u64,
    /// The first [`MAX_LEFT_OUT`] files that were left out.
    pub left_out: Vec<LeftOut>,
    /// All files that were left out.
    pub left_out_count: u64,
}

impl ArtifactsReport {
    /// Notes a file that is left out.
    pub fn leave_out(&mut self, name: &[u8], reason: impl Into<String>) {
        self.left_out_count += 1;
        if self.left_out.len() < MAX_LEFT_OUT {
            self.left_out.push(LeftOut { name: quoted(name), reason: reason.into() });
        }
    }
}

/// A name for a message: without control characters, and of at most [`MAX_QUOTED_CHARS`] characters.
#[must_use]
pub fn quoted(name: &[u8]) -> String {
    // An escape has up to ten characters, and no more of the name are looked at than could be shown.
    let head = name.get(..MAX_QUOTED_CHARS * 4).unwrap_or(name);
    let text: String = String::from_utf8_lossy(head).chars().flat_map(char::escape_debug).collect();
    if head.len() == name.len() && text.chars().count() <= MAX_QUOTED_CHARS {
        return text;
    }
    text.chars().take(MAX_QUOTED_CHARS - 1).chain(['…']).collect()
}

/// Why a path cannot be the name of an artifact; `None` if it can. A name is a relative path that every reader takes for
/// the same file: of plain components, in UTF-8, without control characters, characters that hide or reorder others, and
/// backslashes.
#[must_use]
pub fn name_problem(name: &str) -> Option<&'static str> {
    if name.len() > MAX_NAME_BYTES {
        return Some("its path is longer than 512 bytes");
    }
    if name.contains(|c: char| c.is_control() || hides(c) || c == '\\') {
        return Some("its path has a control character, one that hides or reorders others, or a backslash");
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("its path is not a plain one");
    }
    None
}

/// Whether a character is invisible, or changes the order or the lines of others.
const fn hides(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ArtifactRules {
        ArtifactRules {
            patterns: vec!["/workspace/out/**".to_owned()],
            max_files: 16,
            max_bytes: 1 << 20,
            extensions: vec!["png".to_owned()],
        }
    }

    #[test]
    fn rules_are_bounded() {
        assert_eq!(rules().check(), Ok(()));
        for (wrong, why) in [
            (ArtifactRules { patterns: vec![], ..rules() }, "there are 0 patterns"),
            (ArtifactRules { patterns: vec!["/a".to_owned(); 33], ..rules() }, "there are 33 patterns"),
            (ArtifactRules { patterns: vec!["a".to_owned()], ..rules() }, "absolute"),
            (ArtifactRules { max_files: 0, ..rules() }, "0 files"),
            (ArtifactRules { max_files: 257, ..rules() }, "257 files"),
            (ArtifactRules { max_bytes: 0, ..rules() }, "0 bytes"),
            (ArtifactRules { max_bytes: MAX_BYTES + 1, ..rules() }, "67108865 bytes"),
            (ArtifactRules { extensions: vec!["exe".to_owned()], ..rules() }, "\"exe\""),
        ] {
            let error = wrong.check().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_name_means_one_file_to_every_reader() {
        for name in ["workspace/out/a.png", "tmp/é ü.txt", "workspace/.a/..b.log"] {
            assert_eq!(name_problem(name), None, "{name}");
        }
        let long = "a".repeat(513);
        for name in [
            "",
            "/a",
            "a//b",
            "a/",
            "a/../b",
            "./a",
            "a\nb",
            "a\u{1b}[2Jb",
            "a\u{9b}b",
            "a\u{2028}b",
            "a\u{202e}txt.png",
            "a\\b",
            &long,
        ] {
            assert!(name_problem(name).is_some(), "{name:?}");
        }
    }

    #[test]
    fn what_is_left_out_is_named_within_bounds() {
        let mut report = ArtifactsReport::default();
        for number in 0..100 {
            report.leave_out(format!("{number}\u{1b}[2J\n{}", "x".repeat(5000)).as_bytes(), "why");
        }
        report.leave_out(b"\xff\xfe", "why");
        assert_eq!((report.left_out.len(), report.left_out_count), (MAX_LEFT_OUT, 101));
        assert!(report.left_out.iter().all(|one| one.name.chars().count() <= MAX_QUOTED_CHARS));
        assert!(report.left_out[0].name.starts_with("0\\u{1b}[2J\\nxx"), "{:?}", report.left_out[0].name);
        assert!(serde_json::to_vec(&report).unwrap().len() < 32 * 1024, "it fits into a frame");
        assert_eq!(quoted(b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn an_end_has_one_of_two_forms() {
        assert_eq!(serde_json::to_string(&ArtifactEnded::Bytes(3)).unwrap(), r#"{"bytes":3}"#);
        assert_eq!(serde_json::to_string(&ArtifactEnded::LeftOut("x".into())).unwrap(), r#"{"left_out":"x"}"#);
    }
}
