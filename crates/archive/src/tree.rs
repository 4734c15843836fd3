//! The names of an archive as the tree of files that they make.

use super::{ArchiveProblem, name};
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// The names so far. Two names that some file system takes for one are a problem: which file wins depends on the reader.
///
/// Keyed by folder and component, so memory grows with the names' lengths and not with their depths.
#[derive(Default)]
pub(super) struct Tree {
    nodes: HashMap<(u32, Box<str>), Node>,
}

struct Node {
    id: u32,
    spelling: Box<str>,
    is_folder: bool,
    /// Whether an entry names it; folders also come into being by what is in them.
    is_entry: bool,
}

/// The id of the folder that holds everything.
const ROOT: u32 = 0;

impl Tree {
    /// Files and folders, whether an entry names them or not.
    pub(super) fn len(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// Adds a name that passed [`name::check`].
    pub(super) fn insert(&mut self, path: &str, is_folder: bool) -> Result<(), ArchiveProblem> {
        let shown = || name::shown(path.as_bytes());
        let mut folder = ROOT;
        let mut components = path.split('/').peekable();
        while let Some(component) = components.next() {
            let is_last = components.peek().is_none();
            let wants_folder = is_folder || !is_last;
            // Ids count nodes; there are fewer than bytes of names, which the limits hold far below 2^32.
            let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX).saturating_add(1);
            let node = self.nodes.entry((folder, folded(component))).or_insert_with(|| Node {
                id: next,
                spelling: component.into(),
                is_folder: wants_folder,
                is_entry: false,
            });
            if *node.spelling != *component {
                let (name, other) = (shown(), name::shown(node.spelling.as_bytes()));
                return Err(match node.spelling.nfc().eq(component.nfc()) {
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
            folder = node.id;
        }
        Ok(())
    }
}

/// What names have in common that a file system may take for one: case and canonical composition.
///
/// Through upper case and back, character by character, so that `ß`, `ſ` and both sigmas fold as Unicode's case folding
/// has them.
fn folded(component: &str) -> Box<str> {
    if component.is_ascii() {
        return component.to_ascii_lowercase().into();
    }
    component.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfd().collect::<String>().into()
}
