//! Checks what a cell sees of the host: devices, mounts, paths, namespaces.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use assize_protocol::isolation::IsolationCheck;
use nix::sys::stat::{major, minor};

/// Major and minor numbers of the devices that every container has: null, zero, full, random, urandom;
/// tty, console, ptmx.
const DEVICES: &[(u64, u64)] = &[(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];

/// Major number of pseudo-terminals.
const TERMINALS: u64 = 136;

/// Mount points that a cell may write to; all of them are in memory and limited.
const WRITABLE: &[&str] = &["/workspace", "/tmp", "/grader", "/dev/shm", "/dev/mqueue"];

/// The cell must have no device except those that expose nothing of the host.
pub fn devices() -> IsolationCheck {
    let limit = "null, zero, full, random, urandom and terminals";
    let mut strange = Vec::new();
    let mut seen = 0;
    let mut folders = vec![Path::new("/dev").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let Ok(found) = entry.path().symlink_metadata() else { continue };
            let kind = found.file_type();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_block_device() || kind.is_char_device() {
                seen += 1;
                let number = (major(found.rdev()), minor(found.rdev()));
                let is_known = kind.is_char_device() && (DEVICES.contains(&number) || number.0 == TERMINALS);
                if !is_known {
                    strange.push(format!("{} ({}:{})", entry.path().display(), number.0, number.1));
                }
            }
        }
    }
    let seen = if strange.is_empty() { format!("{seen} devices") } else { strange.join(", ") };
    IsolationCheck::new("devices", strange.is_empty(), seen, limit)
}

/// No mount may be writable except those that the cell needs.
pub fn mounts() -> IsolationCheck {
    let limit = format!("only {}", WRITABLE.join(", "));
    let Ok(mounts) = fs::read_to_string("/proc/self/mounts") else {
        return IsolationCheck::new("mounts", false, "/proc/self/mounts cannot be read", limit);
    };
    let points: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let written: Vec<&str> = points.iter().copied().filter(|point| can_write_in(point)).collect();
    let ok = written.iter().all(|point| WRITABLE.contains(point));
    IsolationCheck::new("mounts", ok, format!("of {} mounts writable: {}", points.len(), written.join(", ")), limit)
}

fn can_write_in(folder: &str) -> bool {
    let path = Path::new(folder).join("assize-probe-mount");
    let created = File::create_new(&path).is_ok();
    if created {
        let _only_a_probe = fs::remove_file(path);
    }
    created
}

/// Each of these paths must be missing, empty or inaccessible.
pub fn masked(paths: &[String]) -> IsolationCheck {
    let open: Vec<&str> = paths.iter().map(String::as_str).filter(|path| says_something(Path::new(path))).collect();
    let seen = if open.is_empty() { format!("{} paths", paths.len()) } else { format!("open: {}", open.join(", ")) };
    IsolationCheck::new("masked", open.is_empty(), seen, "missing, empty or closed")
}

fn says_something(path: &Path) -> bool {
    if path.is_dir() {
        return fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    }
    let mut byte = [0];
    File::open(path).and_then(|mut file| file.read(&mut byte)).is_ok_and(|read| read > 0)
}

/// Nothing may be created in or written to any of these paths. A file that only root may write to proves nothing about
/// its mount, so the check reads the mount's own flags.
pub fn read_only(paths: &[String]) -> IsolationCheck {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let is_mounted_so = |path: &str| {
        let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        fields.any(|fields| {
            fields.get(1) == Some(&path) && fields.get(3).is_some_and(|options| options.split(',').any(|o| o == "ro"))
        })
    };
    let open: Vec<&str> = paths
        .iter()
        .map(String::as_str)
        .filter(|path| Path::new(path).exists())
        .filter(|path| !is_mounted_so(path) || can_write_in(path) || OpenOptions::new().append(true).open(path).is_ok())
        .collect();
    let seen =
        if open.is_empty() { format!("{} paths", paths.len()) } else { format!("writable: {}", open.join(", ")) };
    IsolationCheck::new("read_only", open.is_empty(), seen, "mounted read-only")
}

/// The cell must share none of these namespaces with the host.
pub fn namespaces(host: &BTreeMap<String, String>) -> IsolationCheck {
    let mut shared = Vec::new();
    for (name, theirs) in host {
        match fs::read_link(format!("/proc/self/ns/{name}")) {
            Ok(ours) if ours.to_string_lossy() != theirs.as_str() => {}
            Ok(_) => shared.push(format!("{name} is the host's")),
            Err(error) => shared.push(format!("{name}: {error}")),
        }
    }
    let names: Vec<&str> = host.keys().map(String::as_str).collect();
    let seen = if shared.is_empty() { names.join(", ") } else { shared.join(", ") };
    IsolationCheck::new("namespaces", shared.is_empty(), seen, format!("{} of the cell's own", names.join(", ")))
}

/// The profile that is enforced on this process.
pub fn apparmor(profile: &str) -> IsolationCheck {
    let paths = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"];
    let seen = paths.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let seen = seen.trim_end_matches(['\n', '\0']).to_owned();
    let wanted = format!("{profile} (enforce)");
    IsolationCheck::new("apparmor", seen == wanted, seen, wanted)
}
