//! Archives that are fine, from several writers, and the limits.

use super::crafted::{Ending, Member, archive, code, file, folder, scan_bytes, scan_members, spooled};
use super::*;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn packed(options: SimpleFileOptions, members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in members {
        if name.ends_with('/') {
            writer.add_directory(*name, options).expect("a folder");
        } else {
            writer.start_file(*name, options).expect("a file");
            writer.write_all(data).expect("data");
        }
    }
    writer.finish().expect("an archive").into_inner()
}

#[test]
fn an_ordinary_archive_is_summed_up() {
    let members: [(&str, &[u8]); 4] =
        [("src/", b""), ("src/main.rs", b"fn main() {}"), ("README.md", b"hello"), ("src/größe.txt", b"")];
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        for large in [false, true] {
            let options = SimpleFileOptions::default().compression_method(method).large_file(large);
            let bytes = packed(options, &members);
            let (contents, length) = (Contents::default(), bytes.len() as u64);
            let expected = ArchiveSummary { entries: 4, files: 3, unpacked_bytes: 17, bytes: length, contents };
            assert_eq!(scan_bytes(&bytes), Ok(expected), "{method} {large}");
        }
    }
}

#[test]
fn a_stream_with_descriptors_is_accepted() {
    let mut writer = ZipWriter::new_stream(Vec::new());
    for name in ["a.txt", "b.txt"] {
        writer.start_file(name, SimpleFileOptions::default()).expect("a file");
        writer.write_all(&[b'x'; 5000]).expect("data");
    }
    let bytes = writer.finish().expect("an archive").into_inner();
    assert_eq!(scan_bytes(&bytes).map(|summary| summary.unpacked_bytes), Ok(10_000));
}

#[test]
fn crafted_archives_are_accepted_where_they_tell_the_truth() {
    let summary = scan_members(&[folder("src/"), file("src/a"), file("b")]);
    assert_eq!(summary.map(|s| (s.entries, s.files, s.unpacked_bytes)), Ok((3, 2, 6)));
    let commented = Ending { comment: b"made by hand".to_vec(), ..Ending::default() };
    assert!(scan_bytes(&archive(&[file("a")], &commented)).is_ok());
    let zip64 = Ending { zip64: Some((None, None, 0)), ..Ending::default() };
    assert!(scan_bytes(&archive(&[file("a")], &zip64)).is_ok());
    let saturated = Ending {
        zip64: Some((None, None, 0)),
        entries: Some(u16::MAX),
        len: Some(u32::MAX),
        offset: Some(u32::MAX),
        ..Ending::default()
    };
    assert!(scan_bytes(&archive(&[file("a")], &saturated)).is_ok());
}

#[test]
fn an_archive_within_an_archive_is_a_plain_file() {
    let inner = archive(&[file("a")], &Ending::default());
    let outer = packed(
        SimpleFileOptions::default().compression_method(CompressionMethod::Stored),
        &[("inner.zip", inner.as_slice())],
    );
    assert_eq!(scan_bytes(&outer).map(|summary| summary.files), Ok(1));
}

#[test]
fn the_cursor_does_not_matter_and_does_not_move() {
    use std::io::{Seek, SeekFrom};
    let mut spool = spooled(&archive(&[file("a")], &Ending::default()));
    spool.seek(SeekFrom::Start(7)).expect("seeks");
    assert!(scan(&spool, &ScanLimits::default()).is_ok());
    assert_eq!(spool.stream_position().expect("a position"), 7);
}

#[test]
fn every_limit_holds_to_the_unit() {
    let bytes = archive(&[file("ab/cd"), file("e")], &Ending::default());
    let fits = ScanLimits {
        max_archive_bytes: bytes.len() as u64,
        max_entries: 2,
        max_unpacked_bytes: 6,
        max_ratio: 1,
        max_name_bytes: 5,
        max_depth: 2,
        types: FileTypes::default(),
        names: NameRules { ignore: Vec::new(), root: Vec::new() },
        style: NameStyle::default(),
        room: super::Room::default(),
    };
    let fits = || fits.clone();
    let spool = spooled(&bytes);
    assert!(scan(&spool, &fits()).is_ok());
    for (limits, code, limit, seen) in [
        (ScanLimits { max_archive_bytes: bytes.len() as u64 - 1, ..fits() }, "too_large", bytes.len() - 1, bytes.len()),
        (ScanLimits { max_entries: 1, ..fits() }, "too_many_entries", 1, 2),
        (ScanLimits { max_unpacked_bytes: 5, ..fits() }, "unpacked_too_large", 5, 6),
        (ScanLimits { max_name_bytes: 4, ..fits() }, "name_too_long", 4, 5),
        (ScanLimits { max_depth: 1, ..fits() }, "too_deep", 1, 2),
    ] {
        let problem = scan(&spool, &limits).expect_err(code);
        assert_eq!(problem.code(), code);
        assert_eq!((problem.limit(), problem.seen()), (Some(limit as u64), Some(seen as u64)), "{code}");
        let message = problem.to_string();
        assert!(message.contains(&limit.to_string()) && message.contains(&seen.to_string()), "{message}");
    }
}

#[test]
fn a_ratio_counts_by_what_it_costs() {
    const MIB: u32 = 1 << 20;
    let zeros = |name: &str, mib: u32| Member { method: 8, unpacked: mib * MIB, packed: 3, ..file(name) };
    let noise = |mib: u32| Member {
        data: vec![7; (mib * MIB) as usize],
        packed: mib * MIB,
        unpacked: mib * MIB,
        ..file("noise")
    };
    for fine in [&[zeros("a", 64)][..], &[zeros("a", 32), zeros("b", 32)], &[noise(2), zeros("a", 40)]] {
        assert_eq!(code(fine), "accepted");
    }
    let one = scan_members(&[zeros("a", 65)]).expect_err("a bomb");
    assert_eq!((one.code(), one.limit(), one.entry()), ("ratio", Some(200), Some("a")));
    assert!(one.seen().is_some_and(|seen| seen > 900), "{one}");
    // Bombs of a size that each may have, beside what makes the ratio of the whole a small one.
    let many = scan_members(&[noise(2), zeros("a", 40), zeros("b", 40)]).expect_err("a bomb in pieces");
    assert_eq!((many.code(), many.entry()), ("ratio", Some("b")));
    // What is above its limit has 60 MiB, all together have more, and are no better.
    let packed = 10 * MIB / 190;
    let rest = Member { data: vec![7; packed as usize], packed, method: 8, unpacked: 10 * MIB, ..file("rest") };
    let whole = scan_members(&[zeros("a", 60), rest]).expect_err("a bomb as a whole");
    assert_eq!((whole.code(), whole.entry()), ("ratio", None));
}

#[test]
fn nothing_to_evaluate_is_empty() {
    assert_eq!(scan_bytes(b"").expect_err("empty").code(), "empty");
    assert_eq!(code(&[]), "empty");
    assert_eq!(code(&[folder("src/")]), "empty");
    assert_eq!(scan_bytes(b"hello, this is no archive at all").expect_err("text").code(), "not_a_zip");
}
