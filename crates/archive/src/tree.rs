//! The names of an archive as the tree of files that they make.

use super::name::NameStyle;
use super::{ArchiveProblem, name};
use assize_protocol::names::Name;
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// The names so far. Two names that a person or some file system takes for one are a problem: which file wins depends on
/// the reader.
///
/// Keyed by folder and component, so memory grows with the names' lengths and not with their depths.
#[derive(Default)]
pub(super) struct Tree {
    style: NameStyle,
    nodes: HashMap<(u32, Box<str>), Node>,
    has_root_entry: bool,
    unpacked: u64,
}

struct Node {
    id: u32,
    spelling: Box<str>,
    is_folder: bool,
    /// Whether an entry names it; folders also come into being by what is in them.
    is_entry: bool,
    /// Whether it comes into being in the cell.
    is_unpacked: bool,
}

/// The id of the folder that holds everything.
const ROOT: u32 = 0;

impl Tree {
    pub(super) fn new(style: NameStyle) -> Self {
        Self { style, ..Self::default() }
    }

    /// Files and folders that come into being in the cell, whether an entry names them or not.
    pub(super) fn unpacked(&self) -> u64 {
        self.unpacked
    }

    /// Adds a name. Of one that is unpacked, the components from `top` on come into being.
    pub(super) fn insert(&mut self, path: &Name, top: Option<usize>) -> Result<(), ArchiveProblem> {
        let shown = || name::shown(path.path().as_bytes());
        if path.components.is_empty() && std::mem::replace(&mut self.has_root_entry, true) {
            return Err(ArchiveProblem::DuplicateName { name: "./".to_owned() });
        }
        let mut folder = ROOT;
        for (at, component) in path.components.iter().enumerate() {
            let is_last = at + 1 == path.components.len();
            let wants_folder = path.is_folder || !is_last;
            // Ids count nodes; there are fewer than bytes of names, which the limits hold far below 2^32.
            let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX).saturating_add(1);
            let node = self.nodes.entry((folder, folded(component, self.style))).or_insert_with(|| Node {
                id: next,
                spelling: component.as_str().into(),
                is_folder: wants_folder,
                is_entry: false,
                is_unpacked: false,
            });
            if *node.spelling != **component {
                let (name, other) = (shown(), name::shown(node.spelling.as_bytes()));
                return Err(match looks(&node.spelling) == looks(component) {
                    true => ArchiveProblem::CompositionCollision { name, other },
                    false => ArchiveProblem::CaseCollision { name, other },
                });
            }
            if node.is_folder != wants_folder {
                return Err(ArchiveProblem::FileAndFolder { name: shown() });
            }
            if is_last && std::mem::replace(&mut node.is_entry, true) {
                return Err(ArchiveProblem::DuplicateName { name: shown() });
            }
            if top.is_some_and(|top| at >= top) && !std::mem::replace(&mut node.is_unpacked, true) {
                self.unpacked += 1;
            }
            folder = node.id;
        }
        Ok(())
    }
}

/// What names have in common that a person takes for one, and for portable names a file system too.
fn folded(component: &str, style: NameStyle) -> Box<str> {
    match style {
        _ if component.is_ascii() && style == NameStyle::Linux => component.into(),
        NameStyle::Linux => looks(component),
        NameStyle::Portable if component.is_ascii() => component.to_ascii_lowercase().into(),
        // Through upper case and back, character by character, so that `ß`, `ſ` and both sigmas fold as Unicode's case
        // folding has them.
        NameStyle::Portable => {
            let looks = looks(component);
            looks.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd().collect::<String>().into()
        }
    }
}

/// A name without what cannot be seen of it: how its letters are composed, joiners, and marks of direction.
fn looks(component: &str) -> Box<str> {
    component.nfd().filter(|c| !matches!(c, '\u{200c}'..='\u{200f}')).collect::<String>().into()
}
