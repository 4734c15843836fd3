//! The place of an entry by its name.

use std::borrow::Cow;

use super::{MAX_COMPONENT, NameFault, Pattern, is_git};

/// How the names of one archive are read. A [`super::Survey`] of all of them makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<'r> {
    /// What is ignored; absent for an archive that this service made, whose names only have to be safe.
    pub(super) ignored: Option<Vec<Pattern<'r>>>,
    /// Whether backslashes separate components.
    pub(super) has_backslashes: bool,
    /// The components of the folder that becomes the top; none if the archive's own does.
    pub(super) top: Vec<String>,
}

/// Where an entry belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'r> {
    /// The entry is ignored because of this pattern.
    Ignored(Pattern<'r>),
    /// The entry lies beside the folder that became the top, and is left out.
    Beside(Name),
    /// The entry is a folder around the one that became the top: there is nothing to unpack.
    Above(Name),
    /// The entry belongs to the project.
    Project(Name),
}

/// A name that leads to somewhere inside the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The components in the archive: none for the archive's own folder, and never empty, `.` or `..`.
    pub components: Vec<String>,
    /// Whether the name is that of a folder: it ends in a separator.
    pub is_folder: bool,
    /// The number of components of the folder that became the top.
    above: usize,
}

impl Name {
    /// The components below the folder that became the top; none for that folder itself.
    #[must_use]
    pub fn in_project(&self) -> &[String] {
        self.components.get(self.above..).unwrap_or_default()
    }

    /// The name in the archive, separated by slashes.
    #[must_use]
    pub fn path(&self) -> String {
        self.components.join("/")
    }
}

impl<'r> Reading<'r> {
    /// The components of the folder that becomes the top; none if the archive's own does.
    #[must_use]
    pub fn top(&self) -> &[String] {
        &self.top
    }

    /// Finds the place of an entry by the text of its name.
    ///
    /// # Errors
    /// What is wrong with the name. The name of an ignored entry is never wrong.
    pub fn place(&self, text: &str) -> Result<Place<'r>, NameFault> {
        let text = separated(text, self.has_backslashes);
        if let Some(pattern) = ignoring(&text, self.ignored.as_deref().unwrap_or_default()) {
            return Ok(Place::Ignored(pattern));
        }
        let (components, is_folder) = split(&text)?;
        if self.ignored.is_some() {
            check_project(&components)?;
        }
        let components: Vec<String> = components.into_iter().map(str::to_owned).collect();
        let above = self.top.len();
        let is_top_or_below = components.starts_with(&self.top) && (is_folder || components.len() > above);
        let is_around = is_folder && self.top.starts_with(&components);
        let name = Name { components, is_folder, above };
        Ok(match (is_top_or_below, is_around) {
            (true, _) => Place::Project(name),
            (false, true) => Place::Above(name),
            (false, false) => Place::Beside(name),
        })
    }
}

/// The text with slashes between its components.
pub(super) fn separated(text: &str, has_backslashes: bool) -> Cow<'_, str> {
    if has_backslashes && text.contains('\\') { Cow::Owned(text.replace('\\', "/")) } else { Cow::Borrowed(text) }
}

/// The pattern that ignores a name, if one does: that of the outermost component that any pattern matches.
pub(super) fn ignoring<'r>(text: &str, patterns: &[Pattern<'r>]) -> Option<Pattern<'r>> {
    let mut components = text.split('/').peekable();
    while let Some(component) = components.next() {
        // What follows the last slash of a folder's name is empty.
        let is_folder = components.peek().is_some();
        if let Some(pattern) = patterns.iter().find(|pattern| pattern.matches(component, is_folder)) {
            return Some(*pattern);
        }
    }
    None
}

/// The components of a name, without each `.` before another component, and whether it is that of a folder.
pub(super) fn split(text: &str) -> Result<(Vec<&str>, bool), NameFault> {
    if text.contains('\0') {
        return Err(NameFault::Nul);
    }
    if text.starts_with("//") || text.starts_with("\\\\") {
        return Err(NameFault::Network);
    }
    if text.contains('\\') {
        return Err(NameFault::Backslash);
    }
    if text.starts_with('/') {
        return Err(NameFault::Absolute);
    }
    let (path, is_folder) = text.strip_suffix('/').map_or((text, false), |path| (path, true));
    if path.is_empty() {
        return Err(NameFault::Empty);
    }
    let mut components = Vec::new();
    let mut all = path.split('/').peekable();
    while let Some(component) = all.next() {
        match component {
            "" => return Err(NameFault::EmptyComponent),
            "." if is_folder || all.peek().is_some() => {}
            "." => return Err(NameFault::Dot),
            ".." => return Err(NameFault::Outside),
            drive if components.is_empty() && is_drive(drive) => return Err(NameFault::Drive),
            long if long.len() > MAX_COMPONENT => return Err(NameFault::ComponentTooLong(long.len())),
            component => components.push(component),
        }
    }
    Ok((components, is_folder))
}

/// Whether a component is a drive of Windows.
const fn is_drive(component: &str) -> bool {
    matches!(component.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic())
}

/// What the names of a project must not have.
fn check_project(components: &[&str]) -> Result<(), NameFault> {
    for component in components {
        if component.chars().any(char::is_control) {
            return Err(NameFault::Control);
        }
        // Before what cannot be seen: what makes a Git folder is worse.
        if is_git(component) {
            return Err(NameFault::Git);
        }
        if component.chars().any(is_invisible) {
            return Err(NameFault::Invisible);
        }
    }
    Ok(())
}

/// Characters that make a name look like another: zero-width ones, overrides and isolates of direction, line separators.
/// Joiners and the two marks of direction are none of them: Persian, Indic languages and emoji need joiners, and phones
/// put marks into the names of photos.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
