use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assize_corpus::hostile::{self, ScanAnswer, UnscannedAnswer};
use assize_corpus::{Ending, Member, archive, stored};
use assize_protocol::content::Content;
use assize_protocol::event::{EndStatus, StageExit};
use assize_protocol::frame::Kind;
use assize_protocol::names::NameRules;
use assize_protocol::plan::{Input, Plan};
use zip::write::SimpleFileOptions;

use crate::cell::{Cell, Story};

pub fn unpack_with(archive: &[u8], edit: impl Fn(&mut Input)) -> (Story, std::path::PathBuf, tempfile::TempDir) {
    let mut cell = Cell::start();
    let mut input = cell.input();
    edit(&mut input);
    let into = cell.path().join("into");
    let plan = Plan { inputs: vec![input], stages: vec![cell.shell("true")], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.send_archive(0, archive);
    let folder = std::mem::replace(&mut cell.folder, tempfile::tempdir().unwrap());
    (cell.story(), into, folder)
}

fn rejection(archive: &[u8]) -> String {
    let (story, into, _folder) = unpack_with(archive, |_| {});
    assert!(story.exits().is_empty(), "no stage may start");
    assert!(!into.parent().unwrap().join("escaped").exists());
    story.rejection().to_owned()
}

/// An archive of these members with a truthful end.
pub fn plain(members: &[Member]) -> Vec<u8> {
    archive(members, &Ending::default())
}

/// Panics if `folder` holds anything but plain files and folders.
fn assert_only_files_and_folders(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        assert!(kind.is_file() || kind.is_dir(), "{}", entry.path().display());
        if kind.is_dir() {
            assert_only_files_and_folders(&entry.path());
        }
    }
}

/// FAILURES, hostile inputs: archives. A warden unpacks each of them as if no scan had seen it, as a project's archive and
/// as one that this service made.
#[test]
fn every_archive_of_the_corpus_is_rejected_or_contained_without_a_scan() {
    let mut wrong = Vec::new();
    let rules = [Some(NameRules::default()), None];
    for (hostile, names) in
        hostile::archives().iter().flat_map(|hostile| rules.iter().map(move |names| (hostile, names)))
    {
        let is_for_cells = hostile.name.starts_with("cell-");
        let (story, into, folder) = unpack_with(&hostile.bytes, |input| {
            input.names.clone_from(names);
            if is_for_cells {
                input.max_archive_bytes = hostile::CELL_MAX_ARCHIVE_BYTES;
                input.max_entries = hostile::CELL_MAX_ENTRIES;
                input.max_bytes = hostile::CELL_MAX_BYTES;
                input.deny_content = vec![Content::Program, Content::Archive];
            }
        });
        let beside: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["into"], "{}", hostile.name);
        assert_only_files_and_folders(&into);
        let reason = match &story.end.status {
            EndStatus::Rejected { reason, .. } => reason.as_str(),
            EndStatus::Done => "unpacked",
            other => panic!("{}: {other:?}", hostile.name),
        };
        match hostile.unscanned {
            UnscannedAnswer::Rejected(words) if names.is_some() && !reason.contains(words) => {
                wrong.push(format!("{}: expected {words:?}, observed {reason:?}", hostile.name));
            }
            UnscannedAnswer::Rejected(_) | UnscannedAnswer::Contained => {}
        }
        if names.is_some() && hostile.scan == ScanAnswer::Harmless && reason != "unpacked" {
            wrong.push(format!("{}: the scan accepts it, the warden does not: {reason}", hostile.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn deflated(files: &[(&str, Vec<u8>, u32)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data, mode) in files {
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated).unix_permissions(*mode);
        if name.ends_with('/') {
            writer.add_directory(*name, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(data).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn an_honest_archive_is_there_before_the_first_stage() {
    let mut cell = Cell::start();
    let archive = deflated(&[
        ("src/", vec![], 0o700),
        ("src/main.py", b"print('hello')".repeat(1000), 0o640),
        ("run.sh", b"#!/bin/sh\necho ran".to_vec(), 0o4711),
        ("deep/er/file", vec![], 0o600),
    ]);
    let input = cell.input();
    let into = cell.path().join("into");
    let plan = Plan { inputs: vec![input], stages: vec![cell.shell("into/run.sh")], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.send_archive(0, &archive);
    cell.wait(Kind::StageEnded);
    let mode = |name: &str| into.join(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("src"), mode("src/main.py"), mode("run.sh"), mode("deep/er/file")], [0o755, 0o644, 0o755, 0o644]);
    assert_eq!(std::fs::read(into.join("src/main.py")).unwrap(), b"print('hello')".repeat(1000));
    let story = cell.story();
    assert_eq!(story.text(), "ran\n");
    assert_eq!(story.exits(), [StageExit::Exited { code: 0 }]);
}

#[test]
fn names_without_measure_are_rejected_and_quoted_short() {
    let reason = rejection(&plain(&[stored("x/".repeat(5000).trim_end_matches('/'), b"")]));
    assert!(reason.contains("9999 bytes, the limit is 4096") && reason.len() < 300, "{reason}");
    assert!(rejection(&plain(&[stored(&format!("{}x", "d/".repeat(64)), b"")])).contains("65 levels"));
    assert!(rejection(&plain(&[stored(&"n".repeat(256), b"")])).contains("256 bytes, the limit is 255"));
}

#[test]
fn a_file_with_the_mode_of_a_folder_is_rejected() {
    let reason = rejection(&plain(&[Member { mode: 0o040_755, ..stored("escaped", b"/etc/passwd") }]));
    assert!(reason.contains("neither a plain file nor a folder"), "{reason}");
}

#[test]
fn a_bomb_stops_at_the_limit_while_it_is_inflated() {
    let bomb = deflated(&[("zeros", vec![0; 64 << 20], 0o644)]);
    assert!(bomb.len() < 100_000);
    let (story, into, _folder) = unpack_with(&bomb, |_| {});
    assert!(story.rejection().contains("the limit is 1048576"), "{}", story.rejection());
    assert!(into.join("zeros").metadata().unwrap().len() <= 1 << 20);
}

#[test]
fn what_is_denied_is_known_by_its_first_bytes_and_not_written() {
    let program = deflated(&[("ok.txt", b"text".to_vec(), 0o644), ("notes.txt", b"\x7fELF\x02".to_vec(), 0o644)]);
    let (story, into, _folder) = unpack_with(&program, |input| input.deny_content = vec![Content::Program]);
    assert!(story.rejection().contains("notes.txt\" is of the kind `program`"), "{}", story.rejection());
    assert_eq!(into.join("notes.txt").metadata().unwrap().len(), 0);
    let (story, ..) = unpack_with(&program, |input| input.deny_content = vec![Content::Archive]);
    assert_eq!(story.exits(), [StageExit::Exited { code: 0 }]);
}

#[test]
fn limits_are_inclusive_and_implied_folders_count() {
    let files: Vec<Member> = (0..20).map(|at| stored(&format!("f{at}"), b"x")).collect();
    let (story, ..) = unpack_with(&plain(&files), |input| input.max_bytes = 20);
    assert_eq!(story.exits(), [StageExit::Exited { code: 0 }]);
    let (story, ..) = unpack_with(&plain(&files), |input| input.max_bytes = 19);
    assert!(story.rejection().contains("20 bytes or more, the limit is 19"), "{}", story.rejection());
    let (story, ..) = unpack_with(&plain(&files), |input| input.max_entries = 19);
    assert!(story.rejection().contains("20 files and folders or more, the limit is 19"), "{}", story.rejection());
    let (story, ..) = unpack_with(&plain(&[stored("a/b/c", b"")]), |input| input.max_entries = 2);
    assert!(story.rejection().contains("3 files and folders"), "{}", story.rejection());
}

#[test]
fn an_archive_that_is_too_long_or_none_is_rejected() {
    let archive = plain(&[stored("a", b"x")]);
    let length = archive.len() as u64;
    let (story, ..) = unpack_with(&archive, |input| input.max_archive_bytes = length - 1);
    assert!(story.rejection().contains(&format!("the limit is {}", length - 1)), "{}", story.rejection());
    for junk in [&b""[..], b"not a zip", &archive[..archive.len() - 10]] {
        assert!(rejection(junk).contains("cannot be read as zip"));
    }
    let mut corrupt = plain(&[stored("a", b"contents")]);
    corrupt[34] ^= 1;
    assert!(rejection(&corrupt).contains("cannot be read"));
}

#[test]
fn finish_is_heard_between_inputs() {
    let mut cell = Cell::start();
    let plan = Plan { inputs: vec![cell.input()], stages: vec![cell.shell("echo never")], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.send(Kind::Input, b"\0PK");
    cell.send(Kind::Finish, &[]);
    let story = cell.story();
    assert_eq!(story.end.status, EndStatus::Done);
    assert!(story.exits().is_empty());
}

#[test]
fn finish_is_heard_while_an_archive_is_unpacked() {
    const HUGE: u64 = 1 << 30;
    let mut cell = Cell::start();
    let input = Input { max_bytes: HUGE, ..cell.input() };
    let zeros = cell.path().join("into/zeros");
    let plan = Plan { inputs: vec![input], stages: vec![cell.shell("echo never")], ..cell.empty_plan() };
    cell.send_plan(&plan);
    let bomb = deflated(&[("zeros", vec![0; 256 << 20], 0o644)]);
    cell.send_archive(0, &bomb);
    cell.send(Kind::Finish, &[]);
    let folder = std::mem::replace(&mut cell.folder, tempfile::tempdir().unwrap());
    let story = cell.story();
    assert_eq!(story.end.status, EndStatus::Done);
    assert!(story.exits().is_empty());
    let unpacked = zeros.metadata().map_or(0, |file| file.len());
    assert!(unpacked < 256 << 20, "it was unpacked to the end in {}", folder.path().display());
}

#[test]
fn an_input_out_of_turn_is_a_fault() {
    let mut cell = Cell::start();
    let plan = Plan { inputs: vec![cell.input()], ..cell.empty_plan() };
    cell.send_plan(&plan);
    cell.send(Kind::Input, b"\x01PK");
    assert!(cell.story().fault().contains("of input 1; expected input 0"));
}

/// FAILURES 33a: what a cell cannot hold is the archive's fault, and no fault of the cell. Whether it is the archive itself
/// that is longer than any file may be, or what comes out of it.
#[test]
fn an_archive_that_the_cell_cannot_hold_is_rejected() {
    // What does not get smaller.
    let mut state: u32 = 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let noise: Vec<u8> = std::iter::repeat_with(next).take(300_000).collect();
    let long = deflated(&[("noise", noise, 0o644)]);
    let unpacked = deflated(&[("zeros", vec![0; 300_000], 0o644)]);
    assert!(long.len() > 200_000 && unpacked.len() < 10_000);
    for (archive, words) in [(&long, "the cell cannot hold: File too large"), (&unpacked, "")] {
        let mut cell = Cell::start_with_longest_file(100);
        let input = cell.input();
        let plan = Plan { inputs: vec![input], stages: vec![cell.shell("true")], ..cell.empty_plan() };
        cell.send_plan(&plan);
        cell.send_archive(0, archive);
        let story = cell.story();
        match &story.end.status {
            EndStatus::Rejected { input: 0, reason } => {
                assert!(!words.is_empty() && reason.contains(words), "{reason}")
            }
            EndStatus::DiskFull { input: 0, .. } => assert!(words.is_empty()),
            other => panic!("{other:?}"),
        }
    }
}
