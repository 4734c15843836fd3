//! What the cells of a template have room for: a project's archive, and the template's own tests.

use super::Template;
use super::bundle::Bundle;
use assize_archive::{Needed, Room, ScanLimits, in_pages};
use assize_cell::limits::longest_file_in;
use assize_cell::spec::{GRADER_BYTES, GRADER_ENTRIES};
use assize_config::Config;
use assize_domain::limits::CellLimits;

/// Memory of a cell that is not a project's: the warden, its buffers, and the runtime that starts it. Measured: below 4 MiB.
const WARDEN_BYTES: u64 = 8 << 20;

impl Template {
    /// What the scan holds a project's archive to: the `[archive]` section, the settings, and what the subject's
    /// cell can hold. A warden has all that this lets in.
    #[must_use]
    pub fn scan_limits(&self, config: &Config) -> ScanLimits {
        let mut limits = self.archive.limits(config);
        let beside = if self.driver.is_none() { self.tests } else { Needed::default() };
        limits.max_archive_bytes = limits.max_archive_bytes.min(longest_archive(&self.limits, beside));
        limits.room = Room {
            bytes: self.limits.workspace_mib << 20,
            inodes: self.limits.workspace_inodes.saturating_sub(1),
            memory: memory(&self.limits).saturating_sub(beside.memory()),
        };
        limits
    }
}

/// Bytes of the longest archive that a warden can hold in a file.
fn longest_archive(limits: &CellLimits, beside: Needed) -> u64 {
    longest_file_in(limits, if beside.archive_bytes > 0 { GRADER_BYTES } else { 0 })
}

/// Memory of a cell for what it is handed.
const fn memory(limits: &CellLimits) -> u64 {
    (limits.memory_mib << 20).saturating_sub(WARDEN_BYTES)
}

/// That the cell that gets the tests can hold them.
///
/// # Errors
/// The limit, what the tests need, and what to do.
pub(super) fn check_tests(tests: &Bundle, limits: &CellLimits, name: &str) -> Result<(), String> {
    let Needed { bytes, inodes, .. } = tests.needed;
    let (most, inodes_most) = (GRADER_BYTES, limits.workspace_inodes.saturating_sub(1).min(GRADER_ENTRIES));
    if bytes > most {
        return Err(format!("tests/ takes {bytes} bytes in whole pages, its folder has {most}; make it smaller"));
    }
    if inodes > inodes_most {
        return Err(format!(
            "tests/ has {inodes} files and folders, its folder has room for {inodes_most}; raise {name}.workspace_inodes, or leave files out"
        ));
    }
    let (needed, most) = (tests.needed.memory(), memory(limits));
    if needed > most {
        return Err(format!(
            "tests/ needs {} MiB of memory, packed and unpacked, the cell has {} MiB for it; raise {name}.memory_mib",
            needed.div_ceil(1 << 20),
            most >> 20
        ));
    }
    Ok(())
}

/// What files of these lengths take up in a tmpfs, in that many folders.
pub(super) fn needed(lengths: impl Iterator<Item = u64>, folders: u64, archive_bytes: u64) -> Needed {
    let start = Needed { bytes: 0, inodes: folders, archive_bytes };
    lengths.fold(start, |sum, length| Needed {
        bytes: sum.bytes.saturating_add(in_pages(length)),
        inodes: sum.inodes.saturating_add(1),
        ..sum
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::template::TemplateError;

    fn load(limits: &str, tests: &[(String, usize)]) -> Result<Template, TemplateError> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "description = \"d\"\nclass = \"A\"\nimage = \"i\"\n\
             limits = {{ cpus = 1.0, pids = 16, tmp_mib = 8, {limits} }}\n\
             stages = [{{ name = \"tests\", command = [\"true\"], timeout_s = 1 }}]\n\
             results = {{ format = \"exit_code\" }}\nglobal = {{ timeout_s = 10 }}\n"
        );
        std::fs::write(folder.path().join("template.toml"), text).unwrap();
        for (name, bytes) in tests {
            let path = folder.path().join("tests").join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            // What does not get smaller.
            let noise: Vec<u8> =
                (0_u64..).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).take(*bytes).collect();
            std::fs::write(path, noise).unwrap();
        }
        Template::load(folder.path())
    }

    /// FAILURES 33a.
    #[test]
    fn no_archive_is_let_in_that_a_warden_cannot_hold() {
        let config = Config { max_archive_bytes: 100 << 20, ..Config::default() };
        let template = load("memory_mib = 128, workspace_mib = 16, workspace_inodes = 1000", &[]).unwrap();
        let limits = template.scan_limits(&config);
        assert_eq!(limits.max_archive_bytes, 17 << 20, "the longest file of the cell");
        assert_eq!(limits.room, Room { bytes: 16 << 20, inodes: 999, memory: 120 << 20 });
        let tight = Config { max_archive_bytes: 1000, ..config };
        assert_eq!(template.scan_limits(&tight).max_archive_bytes, 1000);
    }

    #[test]
    fn tests_beside_the_project_take_from_its_memory() {
        let limits = "memory_mib = 64, workspace_mib = 8, workspace_inodes = 100";
        let (without, with) = (load(limits, &[]).unwrap(), load(limits, &[("a/b".to_owned(), 1 << 20)]).unwrap());
        let memory = |template: &Template| template.scan_limits(&Config::default()).room.memory;
        let taken = memory(&without) - memory(&with);
        assert!((1 << 20..3 << 20).contains(&taken), "{taken}");
        assert_eq!(with.tests.inodes, 3, "a file, its folder and the parameters");
    }

    #[test]
    fn tests_that_their_cell_cannot_hold_are_an_error_of_the_template() {
        let many: Vec<_> = (0..40).map(|number| (format!("t{number}"), 1)).collect();
        let error = load("memory_mib = 64, workspace_mib = 8, workspace_inodes = 40", &many).unwrap_err().to_string();
        assert!(error.contains("41 files and folders, its folder has room for 39"), "{error}");
        let large = [("large".to_owned(), 9 << 20)];
        let error = load("memory_mib = 16, workspace_mib = 4, workspace_inodes = 40", &large).unwrap_err().to_string();
        assert!(error.contains("raise limits.memory_mib"), "{error}");
        assert!(load("memory_mib = 64, workspace_mib = 4, workspace_inodes = 40", &large).is_ok());
    }
}
