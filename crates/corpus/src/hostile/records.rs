//! End records, zip64 records and files that are cut, doubled, padded or something else altogether.

use super::{HostileArchive, members, refused};
use crate::{Ending, Member, archive, file, numbers};

pub(super) fn all() -> Vec<HostileArchive> {
    [ends(), zip64(), whole()].concat()
}

fn end(name: &str, tried: &str, code: &'static str, ending: &Ending) -> HostileArchive {
    refused(name, tried, code, archive(&[file("a"), file("b")], ending))
}

fn ends() -> Vec<HostileArchive> {
    let plain = Ending::default;
    let inner = archive(&[file("x")], &plain());
    vec![
        end(
            "end-comment-length",
            "an end record that declares a longer comment than it has",
            "archive_truncated",
            &Ending { comment_len: Some(7), ..plain() },
        ),
        end(
            "end-trailing",
            "bytes behind the end record",
            "archive_data_after_end",
            &Ending { after: b"trailing".to_vec(), ..plain() },
        ),
        end(
            "end-padded-and-trailing",
            "zeros behind the end record, and a byte behind them",
            "archive_data_after_end",
            &Ending { after: [vec![0; 100], vec![1]].concat(), ..plain() },
        ),
        end(
            "marker-and-more",
            "a marker of the format and a byte before the first entry",
            "archive_prepended_data",
            &Ending { before: b"PK00x".to_vec(), ..plain() },
        ),
        end(
            "disk-in-absent-zip64",
            "a disk number that refers to a missing zip64 record",
            "archive_multi_disk",
            &Ending { disks: u16::MAX, ..plain() },
        ),
        end(
            "end-far",
            "70,000 bytes behind the end record",
            "archive_truncated",
            &Ending { after: vec![0; 70_000], ..plain() },
        ),
        end(
            "end-double",
            "a whole archive in the comment",
            "archive_false_end_record",
            &Ending { comment: inner, ..plain() },
        ),
        end(
            "end-false",
            "the signature of an end record in the comment",
            "archive_false_end_record",
            &Ending { comment: b"a PK\x05\x06".to_vec(), ..plain() },
        ),
        end(
            "prepended-script",
            "a shell script before the first entry",
            "archive_prepended_data",
            &Ending { before: b"#!/bin/sh\n".to_vec(), ..plain() },
        ),
        end("multi-disk", "an archive of several disks", "archive_multi_disk", &Ending { disks: 1, ..plain() }),
        end(
            "count-less",
            "an end record that counts fewer entries",
            "archive_directory_mismatch",
            &Ending { entries: Some(1), ..plain() },
        ),
        end(
            "count-more",
            "an end record that counts more entries",
            "archive_directory_mismatch",
            &Ending { entries: Some(3), ..plain() },
        ),
        end(
            "directory-short",
            "a directory that is longer than the end record declares",
            "archive_prepended_data",
            &Ending { len: Some(10), ..plain() },
        ),
        end(
            "directory-long",
            "a directory that is shorter than the end record declares",
            "archive_truncated",
            &Ending { len: Some(10_000), ..plain() },
        ),
        end(
            "directory-earlier",
            "a directory that does not begin where the end record declares",
            "archive_prepended_data",
            &Ending { offset: Some(1), ..plain() },
        ),
        end(
            "directory-beyond",
            "a directory beyond the end of the file",
            "archive_truncated",
            &Ending { offset: Some(10_000), ..plain() },
        ),
    ]
}

fn zip64() -> Vec<HostileArchive> {
    let field = |values: &[u64]| {
        let content: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        [numbers(&[1, u16::try_from(content.len()).unwrap_or_default()]), content].concat()
    };
    let member = |name: &str, tried: &str, code, extra: Vec<u8>, size: u32| {
        let member = Member { extra, unpacked: size, packed: size, local_sizes: Some((3, 3)), ..file("a") };
        members(name, tried, code, &[member])
    };
    let claim = |entries: Option<u64>, len: Option<u64>, off_by: u64| Ending {
        zip64: Some((entries, len, off_by)),
        ..Ending::default()
    };
    let million = Ending { entries: Some(u16::MAX), len: Some(u32::MAX), ..claim(Some(1_000_000), None, 0) };
    let endless = Ending { entries: Some(u16::MAX), len: Some(u32::MAX), ..claim(Some(2), Some(u64::MAX), 0) };
    vec![
        member("zip64-short", "a zip64 field that lacks a size", "archive_zip64_lie", field(&[3]), u32::MAX),
        member("zip64-long", "a zip64 field with a size too many", "archive_zip64_lie", field(&[3, 3, 3]), u32::MAX),
        member("zip64-absent", "sizes that refer to a missing zip64 field", "archive_zip64_lie", Vec::new(), u32::MAX),
        member(
            "zip64-contradicts",
            "a zip64 field with another size than the header",
            "archive_zip64_lie",
            field(&[9, 3]),
            3,
        ),
        member(
            "zip64-exabytes",
            "a zip64 size of 16 EiB",
            "archive_unpacked_too_large",
            field(&[u64::MAX, u64::MAX]),
            u32::MAX,
        ),
        member(
            "zip64-twice",
            "two zip64 fields",
            "archive_bad_extra_field",
            [field(&[3, 3]), field(&[4, 4])].concat(),
            u32::MAX,
        ),
        member(
            "extra-overruns",
            "an extra field that is longer than its room",
            "archive_bad_extra_field",
            numbers(&[1, 90]),
            3,
        ),
        end(
            "zip64-count",
            "a zip64 end record with another number of entries",
            "archive_zip64_lie",
            &claim(Some(1), None, 0),
        ),
        end(
            "zip64-length",
            "a zip64 end record with another length of the directory",
            "archive_zip64_lie",
            &claim(None, Some(46), 0),
        ),
        end(
            "zip64-locator",
            "a locator that points beside the zip64 record",
            "archive_zip64_lie",
            &claim(None, None, 1),
        ),
        end(
            "zip64-record-absent",
            "an end record that refers to a missing zip64 record",
            "archive_zip64_lie",
            &Ending { offset: Some(u32::MAX), ..Ending::default() },
        ),
        end("zip64-million", "a claim of 1,000,000 entries", "archive_too_many_entries", &million),
        end("zip64-endless-directory", "a claim of a directory of 16 EiB", "archive_truncated", &endless),
    ]
}

fn whole() -> Vec<HostileArchive> {
    let good = archive(&[file("a"), file("b")], &Ending::default());
    let moved = [b"MZ stub".to_vec(), archive(&[file("a")], &Ending::default())].concat();
    vec![
        refused("cut-in-half", "an archive cut in the middle", "archive_truncated", good[..good.len() / 2].to_vec()),
        refused(
            "cut-last-byte",
            "an archive without its last byte",
            "archive_truncated",
            good[..good.len() - 1].to_vec(),
        ),
        refused("self-extracting", "a program with an archive behind it", "archive_prepended_data", moved),
        refused("not-a-zip", "a tar archive that is named .zip", "archive_not_a_zip", vec![b'a'; 1024]),
        refused("nothing", "no bytes at all", "archive_empty", Vec::new()),
        refused("end-record-only", "an end record and nothing else", "archive_empty", archive(&[], &Ending::default())),
    ]
}
