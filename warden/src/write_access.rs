//! Restricts the folders that a stage may write to, by Landlock.
//!
//! Everything in a cell runs as one user, so file modes do not protect the grader's tests. With Landlock a process
//! restricts itself and every program that it executes or starts, without any privilege: from then on it can open files for
//! writing, truncate, create, remove, rename and link them only below the folders that the plan names. Landlock does not
//! cover modes, owners, times and attributes; a project that changes those of the tests only prevents its own tests.

use std::ffi::OsString;

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
};

/// Whether this kernel can enforce every restriction above: Landlock version 3, Linux 6.2.
pub fn is_supported() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(AccessFs::from_write(ABI::V3)).is_ok()
}

/// Restricts this process, and every program that it executes or starts, to write below these folders. A folder that does
/// not exist is skipped. Nothing is restricted without folders, on a kernel without Landlock, and on a kernel whose Landlock
/// denies every rename between folders (before Linux 5.19), because ordinary builds need those.
///
/// # Errors
/// A kernel with Landlock refused the restriction; then no stage may run.
pub fn restrict(writable: &[OsString]) -> Result<(), RulesetError> {
    if writable.is_empty() {
        return Ok(());
    }
    let needed = AccessFs::from_write(ABI::V2);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let Ok(ruleset) = ruleset.handle_access(needed) else { return Ok(()) };
    // Linux 6.2; before that version, a file can still be truncated by its path.
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
