//! An input that the warden holds until earlier stages have ended: the grader's tests, in a cell in which the project's
//! stages ran alone.
//!
//! The archive waits in the warden's memory, which no other process of the cell can reach. When the archive is unpacked, no
//! process of the project is alive. But the project may have changed the target folder before: files, links, modes, default
//! ACLs, attributes that use up its inodes. So the warden restores the owner's access to the folder and requires that it is
//! empty. If the archive still cannot be unpacked, the warden reports whether the folder or the archive is at fault.

use std::fs::{self, File, Permissions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use assize_protocol::event::EndStatus;
use assize_protocol::plan::Input;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::statvfs;

use crate::unpack::{self, Interrupt, Unpacked};

/// What the owner of a folder needs to use it.
const OWNER: u32 = 0o700;

/// An archive that waits for its stage.
pub struct Held<'p> {
    number: u8,
    /// The index of the stage that it comes before.
    pub before: u8,
    input: &'p Input,
    archive: File,
    /// What the folder had free before the first stage.
    room: Option<FreeSpace>,
}

/// Blocks and inodes that are free.
#[derive(Clone, Copy)]
struct FreeSpace {
    blocks: u64,
    inodes: u64,
}

/// How the handing in ended.
pub enum Handed {
    Whole,
    Over(EndStatus),
    Interrupted(Interrupt),
}

impl<'p> Held<'p> {
    /// Keeps an archive; its folder is looked at while it is as the cell was made.
    pub fn keep(number: u8, before: u8, input: &'p Input, archive: File) -> Self {
        Self { number, before, input, archive, room: FreeSpace::measure(&input.into) }
    }

    /// Unpacks it. No process of the project may live.
    pub fn hand_in(self, disks: &[String], interrupted: &mut dyn FnMut() -> Option<Interrupt>) -> Handed {
        let Self { number, input, archive, room, .. } = self;
        let spoiled = |reason: String| Handed::Over(EndStatus::Spoiled { input: number, reason });
        if let Err(reason) = restore(&input.into).and_then(|()| must_be_empty(&input.into)) {
            return spoiled(reason);
        }
        let has_shrunk =
            FreeSpace::measure(&input.into).zip(room).is_some_and(|(now, before)| now.is_less_than(before));
        match unpack::unpack(archive, input, interrupted) {
            Unpacked::Whole => Handed::Whole,
            Unpacked::Rejected(reason) => Handed::Over(EndStatus::Rejected { input: number, reason }),
            Unpacked::Full if has_shrunk => {
                spoiled(format!("the stages before have used up what {} has room for", input.into))
            }
            Unpacked::Full => Handed::Over(EndStatus::DiskFull { input: number, path: mount_of(disks, &input.into) }),
            // Before the first stage the same is the cell's fault. Here the project had the folder.
            Unpacked::Fault(error) => spoiled(error),
            Unpacked::Interrupted(interrupt) => Handed::Interrupted(interrupt),
        }
    }

    /// The answer where processes of the stages before could not be killed.
    pub fn contested(&self) -> EndStatus {
        let reason = "processes of the stages before live that could not be killed".to_owned();
        EndStatus::Spoiled { input: self.number, reason }
    }
}

impl FreeSpace {
    fn measure(folder: &str) -> Option<Self> {
        let seen = statvfs(folder).ok()?;
        Some(Self { blocks: seen.blocks_free(), inodes: seen.files_free() })
    }

    const fn is_less_than(self, before: Self) -> bool {
        self.blocks < before.blocks || self.inodes < before.inodes
    }
}

/// Lets the owner of a folder use it again, if it is a folder and no link.
///
/// # Errors
/// What is in its place, or that it is not ours.
pub fn restore(path: &str) -> Result<(), String> {
    let reached = reach(path)?;
    let seen = fs::metadata(&reached.path).map_err(|error| format!("{path} cannot be examined: {error}"))?;
    let mode = seen.mode() & 0o7777;
    if mode & OWNER == OWNER {
        return Ok(());
    }
    fs::set_permissions(&reached.path, Permissions::from_mode(mode | OWNER))
        .map_err(|error| format!("{path} has the mode {mode:o}, and it cannot be changed: {error}"))
}

fn must_be_empty(path: &str) -> Result<(), String> {
    let reached = reach(path)?;
    let mut entries = fs::read_dir(&reached.path).map_err(|error| format!("{path} cannot be listed: {error}"))?;
    match entries.next() {
        None => Ok(()),
        Some(Ok(entry)) => {
            let name = unpack::quote(entry.file_name().as_encoded_bytes());
            Err(format!("the stages before have put {name} into {path}, which must be empty"))
        }
        Some(Err(error)) => Err(format!("{path} cannot be listed: {error}")),
    }
}

/// A folder that is held open, whatever its mode, and its path by the descriptor.
struct Reached {
    path: String,
    _held: OwnedFd,
}

fn reach(path: &str) -> Result<Reached, String> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let held = open(path, flags, Mode::empty()).map_err(|errno| format!("{path} is not the folder it was: {errno}"))?;
    Ok(Reached { path: format!("/proc/self/fd/{}", held.as_raw_fd()), _held: held })
}

/// The watched mount point that a folder lies in, the folder itself if none is known.
pub fn mount_of(disks: &[String], folder: &str) -> String {
    let holds = |disk: &&String| std::path::Path::new(folder).starts_with(disk);
    disks.iter().filter(holds).max_by_key(|disk| disk.len()).map_or_else(|| folder.to_owned(), Clone::clone)
}
