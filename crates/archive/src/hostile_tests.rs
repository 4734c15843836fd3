//! Hostile archives: the scan refuses every archive of the corpus for the reason that the corpus names. The other tests
//! cover what the corpus does not have: archives close to a hostile one that are fine, and the details of a refusal.

use super::crafted::{
    Ending, Member, archive, code, code_of_end, file, folder, longs, numbers, scan_bytes, scan_members, spooled,
};
use super::{Room, ScanLimits, scan};
use assize_corpus::ABC_CRC;
use assize_corpus::hostile::{self, ScanAnswer};
use std::time::Duration;

#[test]
fn every_archive_of_the_corpus_gets_the_answer_that_it_names() {
    let workspace = Room { bytes: 4 << 20, inodes: hostile::WORKSPACE_INODES as u64, ..Room::default() };
    let workspace = ScanLimits { room: workspace, ..ScanLimits::default() };
    let cell = ScanLimits {
        max_entries: hostile::CELL_MAX_ENTRIES,
        max_unpacked_bytes: hostile::CELL_MAX_BYTES,
        max_archive_bytes: hostile::CELL_MAX_ARCHIVE_BYTES,
        ..ScanLimits::default()
    };
    let mut wrong = Vec::new();
    for hostile in hostile::archives() {
        let (limits, expected) = match hostile.scan {
            ScanAnswer::Refused(code) => (ScanLimits::default(), code),
            ScanAnswer::RefusedForWorkspace(code) => (workspace.clone(), code),
            ScanAnswer::RefusedForCell(code) => (cell.clone(), code),
            ScanAnswer::Accepted | ScanAnswer::Harmless => (ScanLimits::default(), "accepted"),
        };
        let answer = scan(&spooled(&hostile.bytes), &limits);
        let code = answer.as_ref().map_or_else(|problem| format!("archive_{}", problem.code()), |_| "accepted".into());
        if code != expected {
            wrong.push(format!("{}: expected {expected}, observed {code}", hostile.name));
        }
        if let Err(problem) = answer {
            let is_of_an_entry = code.ends_with("_mismatch") && code != "archive_directory_mismatch";
            assert!(!is_of_an_entry || problem.entry().is_some(), "{}: {problem:?}", hostile.name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_close_to_a_hostile_one_are_accepted() {
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
            (0o120_777, "accepted"),
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
    // A chain needs its first link, which is no folder.
    assert_eq!(code(&[Member { mode: 0o120_777, ..file("a") }, file("a/b")]), "file_and_folder");
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
        (["caf\u{e9}", "cafe\u{301}"], "composition_collision"),
        (["caf\u{c9}", "cafe\u{301}"], "accepted"),
        (["a\u{200d}", "a\u{200e}"], "composition_collision"),
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
fn hidden_data_is_measured_and_attributed_to_the_entry_before_it() {
    // A local header that no entry points to is an entry only for readers that go from front to back.
    let second = archive(&[file("b")], &Ending::default())[..34].to_vec();
    let ghost = Member { after: second, ..file("a") };
    let hidden = scan_members(&[ghost, file("c")]).expect_err("hidden");
    assert_eq!((hidden.code(), hidden.seen(), hidden.entry()), ("hidden_data", Some(34), Some("a")));
}

#[test]
fn headers_that_differ_in_nothing_that_counts_are_accepted() {
    let tuned = Member { local_flags: Some(1 << 1), ..file("a") };
    assert_eq!(code(&[tuned]), "accepted");
    let same = Member { extra: [numbers(&[0x7075, 6]), vec![1, 0, 0, 0, 0, b'a']].concat(), ..file("a") };
    assert_eq!(code(&[same]), "accepted");
}

#[test]
fn descriptors_in_each_form_are_accepted_and_a_lie_in_the_upper_half_is_not() {
    let streamed =
        |after: Vec<u8>| Member { flags: 1 << 3, local_crc: Some(0), local_sizes: Some((0, 0)), after, ..file("a") };
    for honest in [
        longs(&[0x0807_4b50, ABC_CRC, 3, 3]),
        longs(&[ABC_CRC, 3, 3]),
        longs(&[0x0807_4b50, ABC_CRC, 3, 0, 3, 0]),
        longs(&[ABC_CRC, 3, 0, 3, 0]),
    ] {
        assert_eq!(code(&[streamed(honest.clone()), file("b")]), "accepted", "{honest:?}");
        assert_eq!(code(&[streamed(honest.clone())]), "accepted", "{honest:?}");
    }
    let lie = longs(&[0x0807_4b50, ABC_CRC, 3, 1, 3, 0]);
    assert_eq!(code(&[streamed(lie), file("b")]), "descriptor_mismatch");
}

#[test]
fn deflated_entries_are_accepted() {
    assert_eq!(code(&[Member { method: 8, ..file("a") }]), "accepted");
}

#[test]
fn zip64_fields_that_agree_are_accepted() {
    let with = |extra: Vec<u8>, unpacked: u32, packed: u32| {
        code(&[Member { extra, unpacked, packed, local_sizes: Some((3, 3)), ..file("a") }])
    };
    let field = |values: &[u64]| {
        let content: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        [numbers(&[1, u16::try_from(content.len()).expect("short")]), content].concat()
    };
    assert_eq!(with(field(&[3, 3]), u32::MAX, u32::MAX), "accepted");
    assert_eq!(with(field(&[3, 3]), 3, 3), "accepted");
    assert_eq!(with(field(&[u64::MAX, 3]), u32::MAX, u32::MAX), "size_mismatch");

    let record = |entries, len, off_by| Ending { zip64: Some((entries, len, off_by)), ..Ending::default() };
    assert_eq!(code_of_end(&record(None, None, 0)), "accepted");
    assert_eq!(code_of_end(&Ending { len: Some(u32::MAX), ..Ending::default() }), "zip64_lie");
}

#[test]
fn a_long_comment_is_accepted_and_prepended_bytes_are_counted() {
    assert_eq!(code_of_end(&Ending { comment: vec![b'x'; 65_535], ..Ending::default() }), "accepted");
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
    let began = assize_host::clock::Stopwatch::start();
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
