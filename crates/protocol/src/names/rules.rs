//! What a template says about the names of a project's archive.

use serde::{Deserialize, Serialize};

use super::Pattern;
use super::pattern::MAX_BYTES;

/// The most patterns of [`NameRules::ignore`]: each component of each name is compared with each.
pub const MAX_IGNORE: usize = 100;

/// The most patterns of [`NameRules::root`].
pub const MAX_ROOT: usize = 16;

/// What people's machines put beside a project: files of file managers, version control, installed dependencies, caches
/// and settings of editors.
pub const DEFAULT_IGNORE: [&str; 15] = [
    "__MACOSX/",
    "._*",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "Icon\r",
    ".git",
    ".hg/",
    ".svn/",
    "node_modules/",
    "venv/",
    ".venv/",
    "__pycache__/",
    ".idea/",
    ".vscode/",
];

/// How the names of a project's archive are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NameRules {
    /// Patterns of files and folders that are neither unpacked nor refused, with everything in them.
    pub ignore: Vec<String>,
    /// Patterns of files and folders that mark the project's folder: it has one of each.
    pub root: Vec<String>,
}

impl Default for NameRules {
    fn default() -> Self {
        Self { ignore: DEFAULT_IGNORE.map(str::to_owned).into(), root: Vec::new() }
    }
}

impl NameRules {
    /// Checks the lists themselves.
    ///
    /// # Errors
    /// The list that is too long, or the first pattern that cannot match, with the limit and what to write instead.
    pub fn check(&self) -> Result<(), String> {
        for (key, list, limit) in [("ignore", &self.ignore, MAX_IGNORE), ("root", &self.root, MAX_ROOT)] {
            if list.len() > limit {
                return Err(format!("archive.{key} has {} patterns, the limit is {limit}; leave some out", list.len()));
            }
            if let Some(pattern) = list.iter().find(|pattern| Pattern::parse(pattern).is_none()) {
                return Err(format!(
                    "archive.{key} has {pattern:?}; a pattern is the name of a file or folder, of a folder alone with \
                     a slash at its end (build/), and has at most one `*` beside other characters (*.pyc) and at most \
                     {MAX_BYTES} bytes"
                ));
            }
        }
        Ok(())
    }

    /// The patterns of [`Self::ignore`]. One that cannot match is left out; [`Self::check`] finds it.
    #[must_use]
    pub fn ignored(&self) -> Vec<Pattern<'_>> {
        self.ignore.iter().filter_map(|pattern| Pattern::parse(pattern)).collect()
    }

    /// The patterns of [`Self::root`], likewise.
    #[must_use]
    pub fn marks(&self) -> Vec<Pattern<'_>> {
        self.root.iter().filter_map(|pattern| Pattern::parse(pattern)).take(MAX_ROOT).collect()
    }
}
