//! The room that an archive needs in its cell. All of it is memory.

use super::ArchiveProblem;

/// Bytes that tmpfs counts at least for a file that holds anything, and in whole numbers of which it counts the rest. That
/// of nearly all kernels; one with larger pages finds the workspace full in the cell.
pub const PAGE: u64 = 4096;

/// Memory that the kernel keeps for a file or folder beside what it holds, and charges to the cell: its inode and its
/// name have about 1 KiB.
pub const NODE_BYTES: u64 = 2048;

/// The room that a cell has for a project; unlimited unless a template limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Size of the workspace in bytes, in whole pages.
    pub bytes: u64,
    /// Files and folders of the workspace, without the one that it is itself.
    pub inodes: u64,
    /// Memory in bytes for the archive, its unpacked files and the kernel's data about them, which exist at one time.
    pub memory: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: u64::MAX, inodes: u64::MAX, memory: u64::MAX }
    }
}

/// Bytes in whole pages.
#[must_use]
pub const fn in_pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE).saturating_mul(PAGE)
}

/// The room that an archive needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needed {
    /// Bytes of all files, each in whole pages.
    pub bytes: u64,
    /// Files, and folders whether an entry names them or not.
    pub inodes: u64,
    /// Bytes of the archive itself.
    pub archive_bytes: u64,
}

impl Needed {
    /// Memory for all of it.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        let nodes = self.inodes.saturating_mul(NODE_BYTES);
        in_pages(self.archive_bytes).saturating_add(self.bytes).saturating_add(nodes)
    }

    /// Whether there is room for it.
    pub(super) const fn check(&self, room: &Room) -> Result<(), ArchiveProblem> {
        if self.bytes > room.bytes {
            return Err(ArchiveProblem::ExceedsWorkspace { limit: room.bytes, seen: self.bytes });
        }
        if self.inodes > room.inodes {
            return Err(ArchiveProblem::ExceedsInodes { limit: room.inodes, seen: self.inodes });
        }
        if self.memory() > room.memory {
            return Err(ArchiveProblem::ExceedsMemory { limit: room.memory, seen: self.memory() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::crafted::{Ending, Member, archive, file, folder, spooled};
    use super::super::{ScanLimits, scan};
    use super::*;

    fn scanned(members: &[Member], room: Room) -> Result<(), ArchiveProblem> {
        let bytes = archive(members, &Ending::default());
        scan(&spooled(&bytes), &ScanLimits { room, ..ScanLimits::default() }).map(drop)
    }

    fn sized(name: &str, bytes: u32) -> Member {
        Member { data: vec![0; bytes as usize], packed: bytes, unpacked: bytes, ..file(name) }
    }

    #[test]
    fn every_file_takes_whole_pages_of_the_workspace() {
        let members = [sized("a", 1), sized("b", 4096), sized("c", 4097), sized("empty", 0)];
        let room = |bytes| Room { bytes, ..Room::default() };
        assert_eq!(scanned(&members, room(4 * PAGE)), Ok(()));
        let refused = scanned(&members, room(4 * PAGE - 1));
        assert_eq!(refused, Err(ArchiveProblem::ExceedsWorkspace { limit: 4 * PAGE - 1, seen: 4 * PAGE }));
    }

    #[test]
    fn folders_that_no_entry_names_take_inodes_too() {
        let members = [sized("a/b/c", 1), folder("a/"), folder("d/"), sized("a/b/e", 1)];
        let room = |inodes| Room { inodes, ..Room::default() };
        assert_eq!(scanned(&members, room(5)), Ok(()));
        assert_eq!(scanned(&members, room(4)), Err(ArchiveProblem::ExceedsInodes { limit: 4, seen: 5 }));
    }

    #[test]
    fn the_archive_and_what_comes_out_of_it_share_the_memory() {
        let members = [sized("a", 100_000)];
        let length = archive(&members, &Ending::default()).len() as u64;
        let most = in_pages(length) + in_pages(100_000) + NODE_BYTES;
        let room = |memory| Room { memory, ..Room::default() };
        assert_eq!(scanned(&members, room(most)), Ok(()));
        let refused = scanned(&members, room(most - 1));
        assert_eq!(refused, Err(ArchiveProblem::ExceedsMemory { limit: most - 1, seen: most }));
    }
}
