//! The folder that an archive is unpacked into.

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, mkdirat};

use super::{Member, Unpacked, too_many, unwritable};

/// Counts files and folders that were created, up to one more than the limit.
pub(super) struct Made {
    pub(super) count: u64,
    pub(super) limit: u64,
}

impl Made {
    pub(super) fn one_more(&mut self) -> Result<(), Unpacked> {
        self.count += 1;
        if self.count > self.limit { Err(too_many(self.count, self.limit)) } else { Ok(()) }
    }
}

/// The target folder, and the open folders on the path of the last entry. Entries mostly come folder by folder, so most
/// entries need no walk.
pub(super) struct Folder {
    root: OwnedFd,
    way: Vec<(String, OwnedFd)>,
}

impl Folder {
    pub(super) fn open(path: &str) -> Result<Self, Unpacked> {
        let root = open(path, STEP, Mode::empty())
            .map_err(|errno| Unpacked::Fault(format!("the folder {path} cannot be opened: {errno}")))?;
        Ok(Self { root, way: Vec::new() })
    }

    /// Opens a folder below the root, creates and counts missing folders. No link is followed: a component that is not a
    /// folder is rejected.
    pub(super) fn enter(&mut self, components: &[String], member: &Member, made: &mut Made) -> Result<(), Unpacked> {
        let common = self.way.iter().zip(components).take_while(|((at, _), component)| at == *component).count();
        self.way.truncate(common);
        for component in components.iter().skip(common) {
            let at = self.at();
            let mode = Mode::from_bits_truncate(0o755);
            match mkdirat(at, component.as_str(), mode) {
                Ok(()) => {
                    made.one_more()?;
                    // A default ACL of the folder around it may have made it one that its owner cannot use.
                    fchmodat(at, component.as_str(), mode, FchmodatFlags::FollowSymlink)
                        .map_err(|errno| unwritable(&errno.into(), member))?;
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(unwritable(&errno.into(), member)),
            }
            let next = openat(at, component.as_str(), STEP, Mode::empty()).map_err(|errno| match errno {
                Errno::ENOTDIR | Errno::ELOOP => {
                    Unpacked::Rejected(format!("the entry {} lies below a file", member.quoted))
                }
                errno => unwritable(&errno.into(), member),
            })?;
            self.way.push((component.clone(), next));
        }
        Ok(())
    }

    pub(super) fn create(&self, member: &Member, is_executable: bool) -> Result<File, Unpacked> {
        let mode = Mode::from_bits_truncate(if is_executable { 0o755 } else { 0o644 });
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(self.at(), member.last(), flags, mode) {
            Ok(file) => {
                fchmod(&file, mode).map_err(|errno| unwritable(&errno.into(), member))?;
                Ok(File::from(file))
            }
            Err(Errno::EEXIST) => Err(Unpacked::Rejected(format!("the entry {} exists already", member.quoted))),
            Err(errno) => Err(unwritable(&errno.into(), member)),
        }
    }

    fn at(&self) -> &OwnedFd {
        self.way.last().map_or(&self.root, |(_, folder)| folder)
    }
}

const STEP: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
