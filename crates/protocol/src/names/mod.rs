//! The names of an archive's entries, as the scan and the warden read them.
//!
//! Both ends run these functions over the same bytes, so an archive has one meaning: [`RawName`] finds the name of a
//! header and decodes it, a [`Survey`] of all names decides what holds for the archive as a whole, and the [`Reading`]
//! that comes out of it gives each name its [`Place`].
//!
//! ```text
//! bytes of a name ──decode──▶ text ──Survey (all names)──▶ Reading ──place(text)──▶ ignored, or components below the top
//! ```

mod cp437;
mod extra;
mod git;
pub mod link;
mod pattern;
mod place;
mod portable;
mod raw;
mod rules;
mod survey;
#[cfg(test)]
mod tests;

pub use extra::fields;
pub use git::is_git;
pub use pattern::Pattern;
pub use place::{Name, Place, Reading};
pub use portable::{PortableFault, check_portable};
pub use raw::RawName;
pub use rules::{DEFAULT_IGNORE, MAX_IGNORE, MAX_ROOT, NameRules};
pub use survey::Survey;

/// The longest component of a name in bytes: Linux's `NAME_MAX`.
pub const MAX_COMPONENT: usize = 255;

/// What is wrong with a name, whatever system reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFault {
    /// The name says that it is UTF-8, and it is not.
    NotUtf8,
    /// The extra field 0x7075 contains another name, or is not about this name.
    SecondName,
    /// The name contains a NUL.
    Nul,
    /// The name begins with two separators, as network paths do.
    Network,
    /// The name contains a backslash, in an archive that separates folders by `/`.
    Backslash,
    /// The name begins with a drive.
    Drive,
    /// The name begins with a separator.
    Absolute,
    /// The name has no component.
    Empty,
    /// Two separators follow each other.
    EmptyComponent,
    /// The name of a file ends in the component `.`.
    Dot,
    /// A component is `..`.
    Outside,
    /// The name contains a control character.
    Control,
    /// The name contains an invisible character, or one that changes the direction of text.
    Invisible,
    /// A component is `.git`, or is `.git` for some file system.
    Git,
    /// A component has this number of bytes, more than [`MAX_COMPONENT`].
    ComponentTooLong(usize),
}

impl NameFault {
    /// What is wrong, for a message about the entry, which is the subject of the sentence.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotUtf8 => "has a name that is not UTF-8, which it says it is",
            Self::SecondName => "has another name in an extra field",
            Self::Nul => "has a NUL in its name",
            Self::Network => "has a network path as its name; names must be relative",
            Self::Backslash => "has a backslash in its name; use `/` between folders",
            Self::Drive => "has a drive letter in its name; names must be relative",
            Self::Absolute => "has an absolute name; names must be relative",
            Self::Empty => "has an empty name",
            Self::EmptyComponent => "has an empty component in its name",
            Self::Dot => "has the component `.` at the end of its name",
            Self::Outside => "has the component `..` in its name",
            Self::Control => "has a control character in its name",
            Self::Invisible => "has a character in its name that is invisible or changes the direction of text",
            Self::Git => "lies in a Git folder",
            Self::ComponentTooLong(_) => "has a component that is too long",
        }
    }
}
