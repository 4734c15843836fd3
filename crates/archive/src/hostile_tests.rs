//! The list of hostile archives in FAILURES.md, line by line (and fault 16: each of them is refused by the scan).

use super::crafted::{
    Ending, Member, archive, code, code_of_end, file, folder, longs, numbers, scan_bytes, scan_members, spooled,
};
use super::{ScanLimits, scan};
use std::time::Duration;

#[test]
fn names_that_lead_elsewhere() {
    for (name, expected) in [
        ("../a", "path_outside"),
        ("a/../../b", "path_outside"),
        ("a/..", "path_outside"),
        ("/etc/passwd", "absolute_path"),
        ("//server/share", "unc_path"),
        ("C:/a", "drive_path"),
        ("c:a", "drive_path"),
        ("\\\\server\\share", "unc_path"),
        ("a\\..\\b", "backslash"),
        ("a\0.txt", "nul_in_name"),
        ("", "empty_name"),
        ("/", "absolute_path"),
        ("a//b", "empty_component"),
        ("./a", "dot_component"),
        ("a/./b", "dot_component"),
        (".", "dot_component"),
        ("a.", "trailing_dot"),
        ("a /b", "trailing_dot"),
        ("a\n", "control_in_name"),
        ("a\u{1b}[2J", "control_in_name"),
        ("a\u{85}", "control_in_name"),
        ("photo\u{202e}gpj.exe", "invisible_in_name"),
        ("a\u{2066}b", "invisible_in_name"),
        (".g\u{200c}it/config", "invisible_in_name"),
        ("CON", "reserved_name"),
        ("src/aux.c", "reserved_name"),
        ("nul .txt", "reserved_name"),
        ("com1.log", "reserved_name"),
        ("LPT²", "reserved_name"),
        (".git/hooks/pre-commit", "git_folder"),
        ("a/.GIT/config", "git_folder"),
        ("GIT~1/config", "git_folder"),
    ] {
        assert_eq!(code(&[file("ok"), file(name)]), expected, "{name:?}");
    }
    for name in [
        ".gitignore",
        "a..b",
        "...x",
        "console.log",
        "com10",
        "nullable.rs",
        "ファイル.txt",
        "a b/c d",
        "über/ß",
        "[id].js",
    ] {
        assert_eq!(code(&[file(name)]), "accepted", "{name:?}");
    }
    assert_eq!(code(&[Member { name: b"caf\xE9".to_vec(), ..file("") }]), "name_not_utf8");
}

#[test]
fn names_that_are_too_long_or_too_deep() {
    let long = scan_members(&[file(&"n".repeat(65_535))]).expect_err("64 KB");
    assert_eq!((long.code(), long.limit(), long.seen()), ("name_too_long", Some(1024), Some(65_535)));
    assert!(long.entry().is_some_and(|name| name.chars().count() == 120 && name.ends_with('…')), "{long}");
    let deep = scan_members(&[file(&format!("{}a", "d/".repeat(500)))]).expect_err("deep");
    assert_eq!((deep.code(), deep.limit(), deep.seen()), ("too_deep", Some(32), Some(501)));
    let deepest = file(&format!("{}a", "d/".repeat(4096)));
    assert_eq!(code(std::slice::from_ref(&deepest)), "name_too_long");
    let limits = ScanLimits { max_name_bytes: 10_000, ..ScanLimits::default() };
    let deep = scan(&spooled(&archive(&[deepest], &Ending::default())), &limits).expect_err("4,096 levels");
    assert_eq!((deep.code(), deep.limit(), deep.seen()), ("too_deep", Some(32), Some(4097)));
}

#[test]
fn a_message_shows_a_name_without_its_effects() {
    let shown = scan_members(&[file("a\u{202e}b\u{1b}[2J\"\n")]).expect_err("refused").to_string();
    assert!(shown.contains(r#""a\u{202e}b\u{1b}[2J\"\n""#), "{shown}");
}

#[test]
fn links_devices_and_set_uid() {
    for host in [0, 3, 19] {
        for (mode, expected) in [
            (0o120_777, "symlink"),
            (0o010_644, "fifo"),
            (0o020_644, "device"),
            (0o060_644, "device"),
            (0o140_644, "socket"),
            (0o150_644, "unknown_kind"),
            (0o104_755, "setuid"),
            (0o102_755, "setuid"),
            (0o040_755, "folder_mismatch"),
            (0o000_644, "accepted"),
            (0, "accepted"),
        ] {
            let member = Member { mode, host, ..file("a") };
            assert_eq!(code(&[member]), expected, "{mode:o} made by {host}");
        }
    }
    assert_eq!(code(&[Member { mode: 0o120_777, ..folder("a/") }, file("b")]), "symlink");
    assert_eq!(code(&[Member { mode: 0o042_775, ..folder("a/") }, file("a/b")]), "accepted");
    // A folder by its name, a file by its mode; and by the bit that DOS has for it.
    assert_eq!(code(&[Member { mode: 0o100_644, ..folder("a/") }, file("b")]), "folder_mismatch");
    assert_eq!(code(&[Member { host: 0, ..folder("a/") }, file("b")]), "folder_mismatch");
    assert_eq!(code(&[Member { host: 0, mode: 0, ..folder("a/") }, file("b")]), "accepted");
    // A chain needs its first link.
    assert_eq!(code(&[Member { mode: 0o120_777, ..file("a") }, file("a/b")]), "symlink");
}

#[test]
fn hard_links_in_either_extra_field_of_either_header() {
    let field = |id, bytes: u16| [numbers(&[id, bytes]), vec![b'x'; bytes.into()]].concat();
    for (extra, expected) in [
        (field(0x000d, 13), "hard_link"),
        (field(0x756e, 15), "hard_link"),
        // Times and ids alone.
        (field(0x000d, 12), "accepted"),
        (field(0x756e, 14), "accepted"),
    ] {
        assert_eq!(code(&[Member { extra: extra.clone(), ..file("a") }]), expected, "{extra:?}");
        assert_eq!(code(&[Member { local_extra: extra.clone(), ..file("a") }]), expected, "{extra:?}");
    }
}

#[test]
fn names_that_some_file_system_takes_for_one() {
    for (names, expected) in [
        (["a", "a"], "duplicate_name"),
        (["a/", "a/"], "duplicate_name"),
        (["a", "A"], "case_collision"),
        (["a/b", "A/c"], "case_collision"),
        (["straße", "STRASSE"], "case_collision"),
        (["caf\u{e9}", "cafe\u{301}"], "composition_collision"),
        (["caf\u{c9}", "cafe\u{301}"], "case_collision"),
        (["Σας", "σασ"], "case_collision"),
        (["a", "a/b"], "file_and_folder"),
        (["a/b", "a"], "file_and_folder"),
        (["a", "a/"], "file_and_folder"),
        (["a/", "a/b"], "accepted"),
        (["a/b", "a/"], "accepted"),
        (["a/b", "a/c"], "accepted"),
        (["a", "ab"], "accepted"),
    ] {
        let members = names.map(|name| if name.ends_with('/') { folder(name) } else { file(name) });
        let last = file("last");
        assert_eq!(code(&[members[0].clone(), members[1].clone(), last]), expected, "{names:?}");
    }
}

#[test]
fn entries_that_overlap_or_hide_something() {
    let full = [file("a"), Member { offset: Some(0), name: b"b".to_vec(), ..file("a") }];
    assert_eq!(code(&full), "overlap");
    assert_eq!(code(&[file("a"), Member { offset: Some(0), ..file("a") }]), "overlap");
    // A quoted overlap: the data of the first entry is the local header of the second.
    let second = archive(&[file("b")], &Ending::default())[..34].to_vec();
    let quoting = Member { data: second.clone(), packed: 34, unpacked: 34, ..file("a") };
    let quoted = Member { data: Vec::new(), offset: Some(31), ..file("b") };
    let quoted_archive = archive(&[quoting, quoted], &Ending::default());
    assert_eq!(scan_bytes(&quoted_archive).expect_err("overlap").code(), "overlap");
    // Data that reaches into the directory.
    assert_eq!(code(&[Member { packed: 20, unpacked: 20, ..file("a") }]), "overlap");
    // A local header that no entry points to is an entry only for readers that go from front to back.
    let ghost = Member { after: second, ..file("a") };
    let hidden = scan_members(&[ghost, file("c")]).expect_err("hidden");
    assert_eq!((hidden.code(), hidden.seen(), hidden.entry()), ("hidden_data", Some(34), Some("a")));
    assert_eq!(code_of_end(&Ending { between: b"xyz".to_vec(), ..Ending::default() }), "hidden_data");
}

#[test]
fn headers_that_differ() {
    let other_name = || [numbers(&[0x7075, 6]), vec![1, 0, 0, 0, 0, b'b']].concat();
    for (member, expected) in [
        (Member { local_name: Some(b"b".to_vec()), ..file("a") }, "name_mismatch"),
        (Member { local_name: Some(b"aa".to_vec()), ..file("a") }, "name_mismatch"),
        (Member { local_method: Some(8), ..file("a") }, "method_mismatch"),
        (Member { local_flags: Some(1 << 11), ..file("a") }, "flags_mismatch"),
        (Member { local_flags: Some(1 << 3), ..file("a") }, "flags_mismatch"),
        (Member { local_crc: Some(7), ..file("a") }, "crc_mismatch"),
        (Member { local_crc: Some(0), ..file("a") }, "crc_mismatch"),
        (Member { local_sizes: Some((4, 3)), ..file("a") }, "size_mismatch"),
        (Member { local_sizes: Some((3, 4)), ..file("a") }, "size_mismatch"),
        (Member { local_sizes: Some((0, 0)), ..file("a") }, "size_mismatch"),
        (Member { unpacked: 4, ..file("a") }, "size_mismatch"),
        (Member { unpacked: 3, packed: 3, data: b"abc".to_vec(), ..folder("a/") }, "folder_mismatch"),
        (Member { offset: Some(3), ..file("a") }, "no_local_header"),
        (Member { extra: other_name(), ..file("a") }, "second_name_mismatch"),
        (Member { local_extra: other_name(), ..file("a") }, "second_name_mismatch"),
    ] {
        let problem = scan_members(&[member]).expect_err(expected);
        assert_eq!(problem.code(), expected, "{problem}");
        assert!(problem.entry().is_some(), "{problem:?}");
    }
    let tuned = Member { local_flags: Some(1 << 1), ..file("a") };
    assert_eq!(code(&[tuned]), "accepted");
    let same = Member { extra: [numbers(&[0x7075, 6]), vec![1, 0, 0, 0, 0, b'a']].concat(), ..file("a") };
    assert_eq!(code(&[same]), "accepted");
}

#[test]
fn descriptors_that_lie() {
    let streamed =
        |after: Vec<u8>| Member { flags: 1 << 3, local_crc: Some(0), local_sizes: Some((0, 0)), after, ..file("a") };
    let crc = 0x1234_5678;
    for honest in [
        longs(&[0x0807_4b50, crc, 3, 3]),
        longs(&[crc, 3, 3]),
        longs(&[0x0807_4b50, crc, 3, 0, 3, 0]),
        longs(&[crc, 3, 0, 3, 0]),
    ] {
        assert_eq!(code(&[streamed(honest.clone()), file("b")]), "accepted", "{honest:?}");
        assert_eq!(code(&[streamed(honest.clone())]), "accepted", "{honest:?}");
    }
    for lie in [
        longs(&[0x0807_4b50, 7, 3, 3]),
        longs(&[0x0807_4b50, crc, 4, 3]),
        longs(&[0x0807_4b50, crc, 3, 4]),
        longs(&[0x0807_4b50, crc, 3, 1, 3, 0]),
        Vec::new(),
    ] {
        assert_eq!(code(&[streamed(lie.clone()), file("b")]), "descriptor_mismatch", "{lie:?}");
    }
    let padded = longs(&[0x0807_4b50, crc, 3, 3, 0]);
    assert_eq!(code(&[streamed(padded), file("b")]), "hidden_data");
}

#[test]
fn encrypted_or_oddly_compressed() {
    for (flags, method, expected) in [
        (1, 0, "encrypted"),
        (1 | 1 << 6, 0, "encrypted"),
        (1 << 13, 0, "encrypted"),
        (0, 99, "encrypted"),
        (1 << 5, 0, "unsupported_method"),
        (0, 1, "unsupported_method"),
        (0, 9, "unsupported_method"),
        (0, 12, "unsupported_method"),
        (0, 14, "unsupported_method"),
        (0, 93, "unsupported_method"),
        (0, 8, "accepted"),
    ] {
        assert_eq!(code(&[Member { flags, method, ..file("a") }]), expected, "{flags:x} {method}");
    }
}

#[test]
fn zip64_that_lies() {
    let with = |extra: Vec<u8>, unpacked: u32, packed: u32| {
        code(&[Member { extra, unpacked, packed, local_sizes: Some((3, 3)), ..file("a") }])
    };
    let field = |values: &[u64]| {
        let content: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        [numbers(&[1, u16::try_from(content.len()).expect("short")]), content].concat()
    };
    assert_eq!(with(field(&[3, 3]), u32::MAX, u32::MAX), "accepted");
    assert_eq!(with(field(&[3]), u32::MAX, u32::MAX), "zip64_lie");
    assert_eq!(with(field(&[3, 3, 3]), u32::MAX, u32::MAX), "zip64_lie");
    assert_eq!(with(Vec::new(), u32::MAX, u32::MAX), "zip64_lie");
    assert_eq!(with(field(&[3, 3]), 3, 3), "accepted");
    assert_eq!(with(field(&[9, 3]), 3, 3), "zip64_lie");
    assert_eq!(with(field(&[u64::MAX, 3]), u32::MAX, u32::MAX), "size_mismatch");
    assert_eq!(with(field(&[u64::MAX, u64::MAX]), u32::MAX, u32::MAX), "unpacked_too_large");
    assert_eq!(with([field(&[3, 3]), field(&[4, 4])].concat(), u32::MAX, u32::MAX), "bad_extra_field");
    assert_eq!(with(numbers(&[1, 90]), 3, 3), "bad_extra_field");

    let record = |entries, len, off_by| Ending { zip64: Some((entries, len, off_by)), ..Ending::default() };
    assert_eq!(code_of_end(&record(None, None, 0)), "accepted");
    assert_eq!(code_of_end(&record(Some(1), None, 0)), "zip64_lie");
    assert_eq!(code_of_end(&record(None, Some(46), 0)), "zip64_lie");
    assert_eq!(code_of_end(&record(None, None, 1)), "zip64_lie");
    assert_eq!(code_of_end(&Ending { offset: Some(u32::MAX), ..Ending::default() }), "zip64_lie");
    assert_eq!(code_of_end(&Ending { len: Some(u32::MAX), ..Ending::default() }), "zip64_lie");
}

#[test]
fn end_records_that_are_false_double_or_far() {
    let end = |change: fn(&mut Ending)| {
        let mut ending = Ending::default();
        change(&mut ending);
        code_of_end(&ending)
    };
    assert_eq!(end(|e| e.comment = vec![b'x'; 65_535]), "accepted");
    assert_eq!(end(|e| e.comment_len = Some(7)), "truncated");
    assert_eq!(end(|e| e.after = b"trailing".to_vec()), "data_after_end");
    assert_eq!(end(|e| e.after = vec![0; 70_000]), "truncated");
    assert_eq!(end(|e| e.comment = archive(&[file("x")], &Ending::default())), "false_end_record");
    assert_eq!(end(|e| e.comment = b"a PK\x05\x06".to_vec()), "false_end_record");
    assert_eq!(end(|e| e.before = b"#!/bin/sh\n".to_vec()), "prepended_data");
    assert_eq!(end(|e| e.disks = 1), "multi_disk");
    assert_eq!(end(|e| e.entries = Some(1)), "directory_mismatch");
    assert_eq!(end(|e| e.entries = Some(3)), "directory_mismatch");
    assert_eq!(end(|e| e.len = Some(10)), "prepended_data");
    assert_eq!(end(|e| e.len = Some(10_000)), "truncated");
    assert_eq!(end(|e| e.offset = Some(1)), "prepended_data");
    assert_eq!(end(|e| e.offset = Some(10_000)), "truncated");
    // A self-extracting archive whose offsets were not moved.
    let moved = [b"MZ stub".to_vec(), archive(&[file("a")], &Ending::default())].concat();
    let problem = scan_bytes(&moved).expect_err("prepended");
    assert_eq!((problem.code(), problem.seen()), ("prepended_data", Some(7)));
}

#[test]
fn a_cut_archive_is_refused_wherever_it_was_cut() {
    let whole = archive(&[file("a"), file("b")], &Ending { comment: b"end".to_vec(), ..Ending::default() });
    for len in 0..whole.len() {
        assert!(scan_bytes(&whole[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn claims_of_a_million_entries_are_refused_at_once() {
    let began = assize_host::clock::monotonic();
    let claim = |entries: u64, len: Option<u64>| Ending {
        zip64: Some((Some(entries), len, 0)),
        entries: Some(u16::MAX),
        len: Some(u32::MAX),
        ..Ending::default()
    };
    let million = scan_bytes(&archive(&[file("a")], &claim(1_000_000, None))).expect_err("a million");
    assert_eq!((million.code(), million.limit(), million.seen()), ("too_many_entries", Some(10_000), Some(1_000_000)));
    assert_eq!(code_of_end(&claim(u64::MAX, None)), "too_many_entries");
    assert_eq!(code_of_end(&claim(10_000, None)), "directory_mismatch");
    assert_eq!(code_of_end(&claim(2, Some(u64::MAX))), "truncated");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_directory_full_of_comments_is_refused() {
    let members: Vec<Member> =
        (0..4).map(|i| Member { comment: vec![b'c'; 60_000], ..file(&format!("a{i}")) }).collect();
    let problem = scan_members(&members).expect_err("comments");
    assert_eq!((problem.code(), problem.limit()), ("directory_too_large", Some(4 * (46 + 1024 + 1024) + 3 * 65_535)));
    assert_eq!(problem.seen(), Some(4 * (46 + 2 + 60_000)));
}
