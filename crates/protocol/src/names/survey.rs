//! What the names of an archive say about the archive as a whole.

use std::collections::HashMap;

use super::place::{ignoring, separated, split};
use super::{NameRules, Pattern, Reading};

/// Folders with a mark of the project's folder that are remembered.
const MAX_MARKED: usize = 1000;

/// Bytes of a name up to which it has a say. The scan accepts no longer one.
const MAX_BYTES: usize = 4096;

/// A look at all names of an archive, one after the other. Its memory does not grow with their number.
#[derive(Debug)]
pub struct Survey<'r> {
    rules: Option<Rules<'r>>,
    has_slash: bool,
    /// As the archive is if slashes separate components, and if backslashes do too. Only the last name tells which.
    by_slash: Shape,
    by_both: Shape,
}

#[derive(Debug)]
struct Rules<'r> {
    ignored: Vec<Pattern<'r>>,
    marks: Vec<Pattern<'r>>,
}

/// What lies where, of what is not ignored.
#[derive(Debug, Default)]
struct Shape {
    at_top: AtTop,
    /// Folders that have something that marks a project's folder, and which marks they have: a bit for each.
    marked: HashMap<String, u32>,
}

/// What the archive's own folder holds.
#[derive(Debug, Default)]
enum AtTop {
    #[default]
    Nothing,
    Folder(String),
    FileOrSeveral,
}

impl<'r> Survey<'r> {
    /// Begins. Without rules the archive is one that this service made, which is taken as it is.
    #[must_use]
    pub fn new(rules: Option<&'r NameRules>) -> Self {
        let rules = rules.map(|rules| Rules { ignored: rules.ignored(), marks: rules.marks() });
        Self { rules, has_slash: false, by_slash: Shape::default(), by_both: Shape::default() }
    }

    /// Looks at the text of a name.
    pub fn add(&mut self, text: &str) {
        let Some(rules) = &self.rules else { return };
        self.has_slash |= text.contains('/');
        if text.len() > MAX_BYTES {
            return;
        }
        self.by_slash.add(text, rules);
        if !self.has_slash {
            self.by_both.add(&separated(text, true), rules);
        }
    }

    /// Decides.
    #[must_use]
    pub fn finish(self) -> Reading<'r> {
        let Some(rules) = self.rules else { return Reading { ignored: None, has_backslashes: false, top: Vec::new() } };
        let has_backslashes = !self.has_slash;
        let shape = if has_backslashes { self.by_both } else { self.by_slash };
        let top = shape.top(rules.marks.len());
        let top = top.split('/').filter(|component| !component.is_empty()).map(str::to_owned).collect();
        Reading { ignored: Some(rules.ignored), has_backslashes, top }
    }
}

impl Shape {
    fn add(&mut self, text: &str, rules: &Rules<'_>) {
        if ignoring(text, &rules.ignored).is_some() {
            return;
        }
        // A name that is wrong has no say: the archive is refused for it.
        let Ok((components, is_folder)) = split(text) else { return };
        let Some((first, below)) = components.split_first() else { return };
        let is_file = below.is_empty() && !is_folder;
        self.at_top = match std::mem::take(&mut self.at_top) {
            AtTop::Nothing if !is_file => AtTop::Folder((*first).to_owned()),
            AtTop::Folder(folder) if !is_file && folder == *first => AtTop::Folder(folder),
            _ => AtTop::FileOrSeveral,
        };
        for (at, component) in components.iter().enumerate() {
            let is_folder = is_folder || at + 1 < components.len();
            let bits = rules.marks.iter().enumerate().filter(|(_, mark)| mark.matches(component, is_folder));
            let bits = bits.fold(0, |bits, (number, _)| bits | 1 << number);
            if bits != 0 {
                let folder = components.get(..at).unwrap_or_default().join("/");
                if self.marked.len() < MAX_MARKED || self.marked.contains_key(&folder) {
                    *self.marked.entry(folder).or_default() |= bits;
                }
            }
        }
    }

    /// The folder that becomes the top, as its path: of those with every mark the outermost one, if one is; or else the
    /// only thing in the archive's own folder, if that is a folder.
    fn top(self, marks: usize) -> String {
        let every = (1_u32 << marks) - 1;
        let depth = |folder: &str| if folder.is_empty() { 0 } else { folder.split('/').count() };
        let mut outermost: Vec<String> = Vec::new();
        for (folder, bits) in self.marked {
            if bits != every {
                continue;
            }
            let known = outermost.first().map_or(usize::MAX, |known| depth(known));
            if depth(&folder) < known {
                outermost.clear();
            }
            if depth(&folder) <= known {
                outermost.push(folder);
            }
        }
        match (outermost.as_slice(), self.at_top) {
            ([only], _) => only.clone(),
            (_, AtTop::Folder(folder)) => folder,
            _ => String::new(),
        }
    }
}
