//! Where a stage may write, as the kernel holds it to (Landlock).
//!
//! Everything in a cell runs as one user, so modes keep nobody from the grader's tests. A process can restrict
//! itself and all that it becomes and starts, without any privilege: from then on, files are opened for writing,
//! cut, made, removed, renamed and linked only beneath the folders that a plan names. Modes, owners, times and attributes
//! are not covered by it; who changes those of the tests keeps itself from running them.

use std::ffi::OsString;

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
};

/// Whether this kernel can hold a stage to its folders in all that is named above.
pub fn holds_whole() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_write(ABI::V3)).is_ok()
}

/// Restricts this process, and all that it becomes and starts, to write beneath these folders. One that does
/// not exist is passed over. Without folders nothing is restricted, and neither is it on a kernel that has no
/// Landlock, or one that denies every rename between folders (before Linux 5.19), which ordinary builds need.
///
/// # Errors
/// What a kernel that can do it refused: no stage may run without it then.
pub fn raise(writable: &[OsString]) -> Result<(), RulesetError> {
    if writable.is_empty() {
        return Ok(());
    }
    let needed = AccessFs::from_write(ABI::V2);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let Ok(ruleset) = ruleset.handle_access(needed) else { return Ok(()) };
    // Linux 6.2: before that, a file can still be cut by its path.
    let ruleset = ruleset.set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::Truncate)?;
    let mut ruleset = ruleset.create()?;
    for folder in writable {
        if let Ok(folder) = PathFd::new(folder) {
            ruleset = ruleset.add_rule(PathBeneath::new(folder, needed | AccessFs::Truncate))?;
        }
    }
    ruleset.restrict_self()?;
    Ok(())
}
