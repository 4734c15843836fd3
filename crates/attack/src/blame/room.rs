//! Archives that no cell of their template can hold: none of them may reach a cell.

use super::case;
use crate::trial::{Expectation, Trial};
use assize_corpus::{Ending, Member, archive, file};

/// A stored file of this length: its packed and unpacked sizes are the same.
fn stored(name: &str, bytes: usize) -> Member {
    let length = u32::try_from(bytes).unwrap_or_default();
    Member { data: vec![b'x'; bytes], packed: length, unpacked: length, ..file(name) }
}

fn refused(name: &str, tried: &str, template: &'static str, code: &'static str, members: &[Member]) -> Trial {
    let case = case(name, tried, &format!("rejected at submission: {code}"));
    Trial { case, template, archive: archive(members, &Ending::default()), expected: Expectation::Refused(code) }
}

pub(super) fn all() -> Vec<Trial> {
    let script = || stored("run.sh", 6);
    let with = |more: Vec<Member>| std::iter::once(script()).chain(more).collect::<Vec<_>>();
    let tiny = (0..300).map(|number| stored(&format!("f{number}"), 1)).collect();
    let folders = (0..20).map(|number| stored(&format!("a{number}/b/c/d/e"), 1)).collect();
    let empty = (0..150)
        .map(|number| Member { data: Vec::new(), packed: 0, unpacked: 0, crc: 0, ..file(&format!("f{number}")) })
        .collect();
    let names = (0..8_000)
        .map(|number| Member {
            data: Vec::new(),
            packed: 0,
            unpacked: 0,
            crc: 0,
            ..file(&format!("{number:04}{}", "n".repeat(240)))
        })
        .collect();
    let many = (0..400)
        .map(|number| Member { data: Vec::new(), packed: 0, unpacked: 0, crc: 0, ..file(&format!("f{number}")) })
        .collect();
    vec![
        refused(
            "room-packed",
            "20 MB for a workspace of 16 MiB: more than the longest file of its cell",
            "python",
            "archive_too_large",
            &with(vec![stored("big", 20_000_000)]),
        ),
        refused(
            "room-bytes",
            "5 MiB, packed as they are, for a workspace of 4 MiB",
            "script",
            "archive_exceeds_workspace",
            &with(vec![stored("big", 5 << 20)]),
        ),
        refused(
            "room-exact",
            "as many bytes as the workspace has, and a file more",
            "script",
            "archive_exceeds_workspace",
            &with(vec![stored("big", 4 << 20)]),
        ),
        refused(
            "room-pages",
            "300 bytes in 300 files, for a workspace of 256 pages",
            "narrow",
            "archive_exceeds_workspace",
            &with(tiny),
        ),
        refused(
            "room-inodes",
            "150 empty files for a workspace of 100 inodes",
            "script",
            "archive_exceeds_inodes",
            &with(empty),
        ),
        refused(
            "room-folders",
            "20 files in 80 folders that no entry names, for a workspace of 100 inodes",
            "script",
            "archive_exceeds_inodes",
            &with(folders),
        ),
        refused(
            "room-memory",
            "9 MiB for a cell of 24 MiB of memory, which must hold the archive too",
            "tight",
            "archive_exceeds_memory",
            &with(vec![stored("big", 9 << 20)]),
        ),
        refused(
            "room-names",
            "an archive of nothing but long names, for a cell of 24 MiB of memory",
            "tight",
            "archive_exceeds_memory",
            &with(names),
        ),
        refused(
            "room-inode-table",
            "400 empty files for a workspace of 350 inodes",
            "narrow",
            "archive_exceeds_inodes",
            &with(many),
        ),
    ]
}
