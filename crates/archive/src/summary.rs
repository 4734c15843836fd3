//! What an accepted archive comes to.

use super::name;
use assize_protocol::names::Pattern;
use serde::{Deserialize, Serialize};

/// Names that [`Contents::examples`] has at most.
pub const MAX_EXAMPLES: usize = 20;

/// Summary of an accepted archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// Entries, folders and ignored ones included.
    pub entries: u64,
    /// Files of the project; at least one.
    pub files: u64,
    /// Declared bytes of all files of the project together.
    pub unpacked_bytes: u64,
    /// Bytes of the archive itself.
    pub bytes: u64,
    /// Which folder became the top of the project, and what is not unpacked as it is.
    pub contents: Contents,
}

/// Which folder of an archive became the top of the project, and what is not unpacked as it is. Its length is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = ArchiveContents))]
pub struct Contents {
    /// The folder of the archive that became the top of the project, escaped; empty if the archive's own did.
    pub top: String,
    /// What is ignored, by the template's patterns in their order.
    pub ignored: Vec<Ignored>,
    /// Entries beside the folder that became the top; they are left out.
    pub beside_top: u64,
    /// Symbolic links that lead out of the archive; they are left out.
    pub links_left_out: u64,
    /// Symbolic links that became plain files, which hold their targets.
    pub links_as_files: u64,
    /// The first of all these, at most 20.
    pub examples: Vec<Example>,
}

/// What one pattern ignores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = ArchiveIgnored))]
pub struct Ignored {
    /// The pattern of the template.
    pub pattern: String,
    /// Entries that it ignores.
    pub entries: u64,
}

/// An entry that is not unpacked as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = ArchiveExample))]
pub struct Example {
    /// The name in the archive, escaped, and at most 120 characters long.
    pub name: String,
    /// Why.
    pub reason: Reason,
}

/// Why an entry is not unpacked as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = ArchiveReason))]
pub enum Reason {
    /// A pattern of the template ignores it.
    Ignored,
    /// It lies beside the folder that became the top.
    BesideTop,
    /// It is a symbolic link that leads out of the archive.
    LinkLeftOut,
    /// It is a symbolic link that stays in the archive. A plain file holds its target.
    LinkAsFile,
}

impl Reason {
    /// The reason in words, for a person.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::BesideTop => "beside the project's folder, left out",
            Self::LinkLeftOut => "a link out of the archive, left out",
            Self::LinkAsFile => "a link, now a file that holds its target",
        }
    }
}

impl Contents {
    /// Whether everything is unpacked as it is.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.examples.is_empty()
    }

    pub(super) fn add_ignored(&mut self, pattern: Pattern<'_>, text: &str) {
        let pattern = pattern.to_string();
        match self.ignored.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => known.entries += 1,
            None => self.ignored.push(Ignored { pattern, entries: 1 }),
        }
        self.add_example(text, Reason::Ignored);
    }

    pub(super) fn add(&mut self, reason: Reason, text: &str) {
        match reason {
            Reason::Ignored => {}
            Reason::BesideTop => self.beside_top += 1,
            Reason::LinkLeftOut => self.links_left_out += 1,
            Reason::LinkAsFile => self.links_as_files += 1,
        }
        self.add_example(text, reason);
    }

    fn add_example(&mut self, text: &str, reason: Reason) {
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(Example { name: name::shown(text.as_bytes()), reason });
        }
    }
}
