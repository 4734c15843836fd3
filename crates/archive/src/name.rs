//! The rules for names of entries that only refuse. How a name is read, [`assize_protocol::names`] has for the cell too.

use super::fault::{Field, NameFault};
use super::{ArchiveProblem, ScanLimits};
use assize_protocol::names::{self, MAX_COMPONENT, Name, PortableFault, check_portable};

/// Characters of a name that a message quotes.
const SHOWN_CHARS: usize = 120;

/// Which names are accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameStyle {
    /// Every name that Linux has and a person can see: the project is evaluated on Linux.
    #[default]
    Linux,
    /// Only names that Windows and macOS have too.
    Portable,
}

/// What is wrong with a name that has no place in the project.
pub(super) fn problem(fault: names::NameFault, raw: &[u8]) -> ArchiveProblem {
    let name = shown(raw);
    let bad = |fault, name| ArchiveProblem::BadName { name, fault };
    match fault {
        names::NameFault::NotUtf8 => bad(NameFault::NotUtf8, name),
        names::NameFault::SecondName => ArchiveProblem::HeaderMismatch { name, field: Field::SecondName },
        names::NameFault::Nul => ArchiveProblem::NulInName { name },
        names::NameFault::Network => ArchiveProblem::UncPath { name },
        names::NameFault::Backslash => ArchiveProblem::Backslash { name },
        names::NameFault::Drive => ArchiveProblem::DrivePath { name },
        names::NameFault::Absolute => ArchiveProblem::AbsolutePath { name },
        names::NameFault::Empty => bad(NameFault::Empty, name),
        names::NameFault::EmptyComponent => bad(NameFault::EmptyComponent, name),
        names::NameFault::Dot => bad(NameFault::Dot, name),
        names::NameFault::Outside => ArchiveProblem::PathOutside { name },
        names::NameFault::Control => bad(NameFault::Control, name),
        names::NameFault::Invisible => bad(NameFault::Invisible, name),
        names::NameFault::Git => ArchiveProblem::GitFolder { name },
        names::NameFault::ComponentTooLong(seen) => {
            ArchiveProblem::ComponentTooLong { name, limit: MAX_COMPONENT as u64, seen: seen as u64 }
        }
    }
}

/// Holds a name that has a place in the project to the limits and to the style of names.
pub(super) fn check(name: &Name, limits: &ScanLimits) -> Result<(), ArchiveProblem> {
    let shown = || shown(name.path().as_bytes());
    let depth = name.components.len() as u64;
    if depth > limits.max_depth {
        return Err(ArchiveProblem::TooDeep { name: shown(), limit: limits.max_depth, seen: depth });
    }
    if limits.style == NameStyle::Portable {
        for component in &name.components {
            check_portable(component).map_err(|fault| {
                let fault = match fault {
                    PortableFault::Character => NameFault::NotPortable,
                    PortableFault::TrailingDot => NameFault::TrailingDot,
                    PortableFault::Reserved => NameFault::Reserved,
                };
                ArchiveProblem::BadName { name: shown(), fault }
            })?;
        }
    }
    Ok(())
}

/// A name for a message: escaped, and at most 120 characters long.
pub(super) fn shown(raw: &[u8]) -> String {
    // More bytes than 120 characters can have are not worth escaping.
    let head = &raw[..raw.len().min(SHOWN_CHARS * 4)];
    let escaped: Vec<char> = String::from_utf8_lossy(head).chars().flat_map(char::escape_debug).collect();
    if escaped.len() <= SHOWN_CHARS && head.len() == raw.len() {
        return escaped.into_iter().collect();
    }
    escaped.into_iter().take(SHOWN_CHARS - 1).chain(['…']).collect()
}
