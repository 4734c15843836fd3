//! Archives for cells with small limits, put there past the scan. Each that leads elsewhere leads to a file named
//! `escaped`, which a test can look for.

use super::{CELL_MAX_ARCHIVE_BYTES, CELL_MAX_BYTES, HostileArchive, ScanAnswer, UnscannedAnswer};
use crate::{Ending, Member, archive, deflated, file, folder, stored};

fn link(name: &str, target: &str) -> Member {
    Member { mode: 0o120_777, ..stored(name, target.as_bytes()) }
}

/// The content of a file that is longer than a limit.
fn filled(bytes: u64) -> Vec<u8> {
    vec![7; usize::try_from(bytes).unwrap_or_default()]
}

pub(super) fn all() -> Vec<HostileArchive> {
    use ScanAnswer::{Accepted, Refused, RefusedForCell};
    let device = |mode| vec![Member { mode, ..file("escaped") }];
    let many: Vec<Member> = (0..900).map(|number| file(&format!("f{number}"))).collect();
    let folders: Vec<Member> = (0..20).map(|number| file(&format!("a{number}/b/c/d/e"))).collect();
    let zeros = vec![0; 80 << 20];
    let program = [b"\x7fELF".as_slice(), &[0; 2000]].concat();
    let inner = archive(&[file("a")], &Ending::default());
    let nothing = "holds no file";
    let special = "neither a plain file nor a folder";
    let of_members = [
        ("cell-dotdot", Refused("archive_path_outside"), "`..`", vec![file("first"), file("../escaped")]),
        ("cell-dotdot-in-the-middle", Refused("archive_path_outside"), "`..`", vec![file("a/../../tmp/escaped")]),
        ("cell-absolute", Refused("archive_absolute_path"), "absolute", vec![file("/tmp/escaped")]),
        ("cell-absolute-to-tests", Refused("archive_absolute_path"), "absolute", vec![file("/grader/escaped")]),
        ("cell-drive", Refused("archive_drive_path"), "drive letter", vec![file("C:/escaped")]),
        ("cell-backslash", Refused("archive_path_outside"), "`..`", vec![file("..\\escaped")]),
        ("cell-nul", Refused("archive_nul_in_name"), "NUL", vec![file("a\0/../escaped")]),
        ("cell-symlink", Refused("archive_empty"), nothing, vec![link("escaped", "/tmp")]),
        ("cell-symlink-folder", Refused("archive_symlink"), special, vec![Member { mode: 0o120_777, ..folder("a/") }]),
        (
            "cell-symlink-chain",
            Refused("archive_file_and_folder"),
            "lies below a file",
            vec![link("a", ".."), link("a/b", "../tmp"), file("a/b/escaped")],
        ),
        (
            "cell-symlink-chain-in-folder",
            Refused("archive_file_and_folder"),
            "lies below a file",
            vec![file("first"), folder("d/"), link("d/up", ".."), file("d/up/tmp/escaped")],
        ),
        ("cell-fifo", Refused("archive_fifo"), special, device(0o010_644)),
        ("cell-character-device", Refused("archive_device"), special, device(0o020_666)),
        ("cell-block-device", Refused("archive_device"), special, device(0o060_660)),
        ("cell-socket", Refused("archive_socket"), special, device(0o140_755)),
        ("cell-twice", Refused("archive_duplicate_name"), "twice", vec![file("a"), file("a")]),
        (
            "cell-file-then-folder",
            Refused("archive_file_and_folder"),
            "lies below a file",
            vec![file("a"), file("a/b")],
        ),
        ("cell-folder-then-file", Refused("archive_file_and_folder"), "exists already", vec![file("a/b"), file("a")]),
        ("cell-overlap", Refused("archive_overlap"), "twice", vec![file("a"), Member { offset: Some(0), ..file("a") }]),
        (
            "cell-deep",
            Refused("archive_too_deep"),
            "101 levels deep, the limit is 64",
            vec![file(&format!("{}a", "d/".repeat(100)))],
        ),
        (
            "cell-long-name",
            Refused("archive_name_too_long"),
            "5000 bytes, the limit is 4096",
            vec![file(&"n".repeat(5000))],
        ),
        ("cell-encrypted", Refused("archive_encrypted"), "encrypted", vec![Member { flags: 1, ..file("a") }]),
        (
            "cell-entries",
            RefusedForCell("archive_too_many_entries"),
            "files and folders or more, the limit is 60",
            many,
        ),
        ("cell-folders", Accepted, "files and folders or more, the limit is 60", folders),
        (
            "cell-bomb",
            Refused("archive_ratio"),
            "bytes or more, the limit is 50000",
            vec![deflated("a.txt", &zeros, 80 << 20)],
        ),
        ("cell-bomb-understated", Accepted, "a.txt", vec![deflated("a.txt", &zeros, 10)]),
        (
            "cell-oversize",
            RefusedForCell("archive_unpacked_too_large"),
            "limit is 50000",
            vec![stored("a.bin", &filled(CELL_MAX_BYTES + CELL_MAX_BYTES / 5))],
        ),
        (
            "cell-packed-oversize",
            RefusedForCell("archive_too_large"),
            "the limit is 100000",
            vec![stored("a.bin", &filled(CELL_MAX_ARCHIVE_BYTES * 2))],
        ),
        ("cell-crc-wrong", Accepted, "cannot be read", vec![Member { crc: 7, ..file("a") }]),
        (
            "cell-program",
            Accepted,
            "of the kind `program`",
            vec![deflated("notes.txt", &program, u32::try_from(program.len()).unwrap_or_default())],
        ),
        (
            "cell-nested",
            Accepted,
            "of the kind `archive`",
            vec![deflated("photo.txt", &inner, u32::try_from(inner.len()).unwrap_or_default())],
        ),
    ];
    let mut all: Vec<HostileArchive> = of_members
        .into_iter()
        .map(|(name, scan, words, members)| cell(name, scan, words, archive(&members, &Ending::default())))
        .collect();
    let not_a_zip = "cannot be read as zip";
    all.push(cell("cell-no-zip", Refused("archive_not_a_zip"), not_a_zip, b"PK, but nothing else".to_vec()));
    all
}

fn cell(name: &str, scan: ScanAnswer, words: &'static str, bytes: Vec<u8>) -> HostileArchive {
    let what = format!("{}, in a cell", name.trim_start_matches("cell-").replace('-', " "));
    HostileArchive { name: name.to_owned(), what, bytes, scan, unscanned: UnscannedAnswer::Rejected(words) }
}
