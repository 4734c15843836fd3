//! An archive: what the scan accepts means the same to the reader in the cell, and unpacks inside its folder; what it
//! refuses, the warden's own checks must keep inside too.

#![no_main]

use std::cell::RefCell;
use std::fs::File;
use std::io::Seek;
use std::os::unix::fs::FileExt;
use std::path::Path;

use assize_archive::{ScanLimits, scan};
use assize_protocol::names::NameRules;
use assize_protocol::plan::Input;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

#[allow(dead_code)]
#[path = "../../warden/src/unpack/mod.rs"]
mod unpack;

use unpack::{Unpacked, unpack};

const MAX_BYTES: u64 = 1 << 20;
const ENTRIES: u64 = 64;

/// A folder to unpack into, with a neighbour that must stay as it is.
struct Ground {
    outer: TempDir,
    archive: File,
}

thread_local!(static GROUND: RefCell<Ground> = RefCell::new(Ground {
    outer: tempfile::tempdir().expect("a folder"),
    archive: tempfile::tempfile().expect("a file"),
}));

/// Files and folders below `folder`, and the bytes of the files; links are counted, not followed.
fn count(folder: &Path) -> (u64, u64, u64) {
    let (mut files, mut folders, mut bytes) = (0, 0, 0);
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a kind");
        assert!(kind.is_file() || kind.is_dir(), "{:?} is a link or a device", entry.path());
        if kind.is_dir() {
            let inside = count(&entry.path());
            folders += 1 + inside.1;
            (files, bytes) = (files + inside.0, bytes + inside.2);
        } else {
            (files, bytes) = (files + 1, bytes + entry.metadata().expect("metadata").len());
        }
    }
    (files, folders, bytes)
}

fuzz_target!(|bytes: &[u8]| GROUND.with_borrow_mut(|Ground { outer, archive }| {
    archive.set_len(0).expect("an empty file");
    archive.write_all_at(bytes, 0).expect("written");
    archive.rewind().expect("at its start");
    let limits = ScanLimits { max_entries: ENTRIES, max_unpacked_bytes: MAX_BYTES, ..ScanLimits::default() };
    let scanned = scan(archive, &limits);

    let into = outer.path().join("into");
    std::fs::create_dir(&into).expect("a folder");
    let input = Input {
        into: into.display().to_string(),
        max_archive_bytes: MAX_BYTES,
        max_entries: 4 * ENTRIES,
        max_bytes: MAX_BYTES,
        deny_content: Vec::new(),
        names: Some(NameRules::default()),
        before: None,
    };
    let unpacked = unpack(archive.try_clone().expect("a second handle"), &input, &mut || None);
    let (files, folders, written) = count(&into);
    assert!(written <= MAX_BYTES && files + folders <= 4 * ENTRIES + 64);
    if let (Ok(summary), Unpacked::Whole) = (&scanned, &unpacked) {
        assert_eq!((summary.files, summary.unpacked_bytes), (files, written), "{summary:?}");
    }
    if scanned.is_ok() {
        // What was scanned can still be damaged data, which only inflating shows; nothing else.
        let expected = match &unpacked {
            Unpacked::Whole => true,
            Unpacked::Rejected(reason) => reason.contains("cannot be read") || reason.contains("the limit is"),
            _ => false,
        };
        assert!(expected, "{unpacked:?}");
    }
    std::fs::remove_dir_all(&into).expect("removed");
    let others = std::fs::read_dir(outer.path()).expect("a folder").count();
    assert_eq!(others, 0, "something was written beside the folder");
}));
