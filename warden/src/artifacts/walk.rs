//! The walk through the folders that artifacts may lie in, by descriptors and in a fixed order.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use assize_protocol::artifacts::{MAX_DEPTH, Pattern, Walked};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstatat};

use super::TIME_IS_OVER;
use crate::{clock, plain_file};

/// Entries of all folders together that are looked at: the project may have filled them.
const MAX_LOOKED: usize = 10_000;

/// What the walk comes across.
pub enum Found {
    /// Something that a pattern names, to be opened in its folder.
    File { folder: Rc<OwnedFd>, name: OsString, path: Vec<u8> },
    /// Something that a pattern names, or that leads there, and that is not opened.
    LeftOut { path: Vec<u8>, reason: String },
}

/// A walk, depth first and by name.
pub struct Walk {
    patterns: Vec<Pattern>,
    /// Folders in which the walk begins, last first.
    beginnings: Vec<Vec<String>>,
    /// The folders that are open, outermost first.
    levels: Vec<Level>,
    /// What a step has found.
    pending: Option<Found>,
    looked: usize,
    is_over: bool,
    deadline: u64,
}

/// An open folder with what is left of its entries, last first.
struct Level {
    folder: Rc<OwnedFd>,
    path: Vec<u8>,
    walked: Vec<Walked>,
    entries: Vec<(OsString, Option<Type>)>,
}

impl Walk {
    pub fn begin(patterns: Vec<Pattern>, deadline: u64) -> Self {
        let folders: BTreeSet<&[String]> = patterns.iter().map(Pattern::folder).collect();
        let is_outermost = |one: &&[String]| !folders.iter().any(|other| one != other && one.starts_with(other));
        let beginnings = folders.iter().copied().filter(is_outermost).map(<[String]>::to_vec).rev().collect();
        Self { beginnings, patterns, levels: Vec::new(), pending: None, looked: 0, is_over: false, deadline }
    }

    fn open_beginning(&mut self, components: &[String]) -> Option<Found> {
        let mut walked: Vec<Walked> = self.patterns.iter().map(Pattern::begin).collect();
        let left_out = |path: Vec<u8>, errno| match errno {
            // The tests may hand out nothing this time.
            Errno::ENOENT => None,
            errno => Some(Found::LeftOut { path, reason: unentered(errno) }),
        };
        let mut path = Vec::new();
        let mut folder = match plain_file::root() {
            Ok(folder) => folder,
            Err(errno) => return left_out(path, errno),
        };
        for component in components {
            path = joined(&path, component.as_bytes());
            walked = self.step(&walked, component);
            folder = match plain_file::enter(&folder, OsStr::new(component)) {
                Ok(folder) => folder,
                Err(errno) => return left_out(path, errno),
            };
        }
        self.open_level(folder, path, walked)
    }

    /// Lists a folder, no further than the walk may look.
    fn open_level(&mut self, folder: OwnedFd, path: Vec<u8>, walked: Vec<Walked>) -> Option<Found> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let listing = match Dir::openat(&folder, ".", flags, Mode::empty()) {
            Ok(listing) => listing,
            Err(errno) => return Some(Found::LeftOut { path, reason: unentered(errno) }),
        };
        let (mut entries, mut problem) = (Vec::new(), None);
        for entry in listing {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    problem = Some(format!("cannot be listed: {errno}"));
                    break;
                }
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            if self.looked == MAX_LOOKED {
                problem = Some(format!("lies where there are more than {MAX_LOOKED} entries, the rest is left out"));
                break;
            }
            self.looked += 1;
            entries.push((name.to_os_string(), entry.file_type()));
        }
        entries.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        let reported = problem.map(|reason| Found::LeftOut { path: path.clone(), reason });
        self.levels.push(Level { folder: Rc::new(folder), path, walked, entries });
        reported
    }

    fn look_at(&mut self, name: OsString, kind: Option<Type>) -> Option<Found> {
        let level = self.levels.last()?;
        let (folder, path) = (Rc::clone(&level.folder), joined(&level.path, name.as_bytes()));
        let walked = self.step(&level.walked, &name.to_string_lossy());
        let pairs = || self.patterns.iter().zip(&walked);
        let is_match = pairs().any(|(pattern, walked)| pattern.is_match(*walked));
        let may_match_beneath = pairs().any(|(pattern, walked)| pattern.may_match_beneath(*walked));
        let left_out = |path, reason: &str| Some(Found::LeftOut { path, reason: reason.to_owned() });
        match kind.or_else(|| kind_of(&folder, &name)) {
            Some(Type::Directory) if may_match_beneath => {
                let folders = path.iter().filter(|byte| **byte == b'/').count() + 1;
                if folders > MAX_DEPTH {
                    return left_out(path, "lies too deep, files in it are left out");
                }
                match plain_file::enter(&*folder, &name) {
                    Ok(folder) => self.open_level(folder, path, walked),
                    Err(errno) => Some(Found::LeftOut { path, reason: unentered(errno) }),
                }
            }
            Some(Type::Directory) if is_match => left_out(path, "is a folder, a plain file is needed"),
            _ if !is_match => None,
            Some(Type::Symlink) => left_out(path, "is a symbolic link, a plain file is needed"),
            _ => Some(Found::File { folder, name, path }),
        }
    }

    fn step(&self, walked: &[Walked], component: &str) -> Vec<Walked> {
        self.patterns.iter().zip(walked).map(|(pattern, walked)| pattern.step(*walked, component)).collect()
    }
}

impl Iterator for Walk {
    type Item = Found;

    /// The next thing that is found; `None` when nothing is left or the time is over.
    fn next(&mut self) -> Option<Found> {
        loop {
            if let Some(found) = self.pending.take() {
                return Some(found);
            }
            if self.is_over {
                return None;
            }
            if clock::now_us() >= self.deadline {
                self.is_over = true;
                let path = self.levels.last().map_or_else(|| b"/".to_vec(), |level| level.path.clone());
                return Some(Found::LeftOut { path, reason: TIME_IS_OVER.to_owned() });
            }
            let Some(level) = self.levels.last_mut() else {
                let folder = self.beginnings.pop()?;
                self.pending = self.open_beginning(&folder);
                continue;
            };
            match level.entries.pop() {
                Some((name, kind)) => self.pending = self.look_at(name, kind),
                None => drop(self.levels.pop()),
            }
        }
    }
}

/// The kind of an entry where its folder does not say.
fn kind_of(folder: &OwnedFd, name: &OsStr) -> Option<Type> {
    let stat = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => Some(Type::Directory),
        SFlag::S_IFLNK => Some(Type::Symlink),
        _ => None,
    }
}

/// The path of an entry, without the slash of the root.
fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

fn unentered(errno: Errno) -> String {
    match errno {
        Errno::ELOOP | Errno::ENOTDIR => "is a link or not a folder, files behind it are left out".to_owned(),
        Errno::EACCES => "is a folder that is closed (EACCES), files in it are left out".to_owned(),
        errno => format!("cannot be looked into: {errno}"),
    }
}
