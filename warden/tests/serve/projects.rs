//! Projects' archives as people's machines make them: the warden unpacks what the scan says, to the file and the byte.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assize_archive::{ScanLimits, scan};
use assize_corpus::{Member, file, folder, stored};
use assize_protocol::event::EndStatus;
use assize_protocol::names::NameRules;

use crate::archives::{plain, unpack_with};

/// Unpacks a project's archive by these rules.
fn unpacked(archive: &[u8], rules: &NameRules) -> Result<Vec<(String, Vec<u8>)>, String> {
    let (story, into, _folder) = unpack_with(archive, |input| {
        (input.max_archive_bytes, input.max_bytes, input.max_entries) = (1 << 24, 1 << 24, 1000);
        input.names = Some(rules.clone());
    });
    match &story.end.status {
        EndStatus::Done => Ok(files_of(&into)),
        EndStatus::Rejected { reason, .. } => Err(reason.clone()),
        other => panic!("{other:?}"),
    }
}

/// All files below a folder by their paths, with what they hold.
fn files_of(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            assert!(kind.is_file() || kind.is_dir(), "{}", entry.path().display());
            if kind.is_dir() {
                left.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Every archive that the tests of the scan have.
fn archives() -> Vec<PathBuf> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/archive/tests/data");
    let (mut found, mut left) = (Vec::new(), vec![cases]);
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn every_archive_unpacks_to_what_the_scan_says() {
    let archives = archives();
    assert!(archives.len() > 100);
    let mut wrong = Vec::new();
    for path in archives {
        let mut file = File::open(&path).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let expected = scan(&file, &ScanLimits::default()).map_err(|problem| problem.to_string());
        let expected = expected.map(|summary| (summary.files, summary.unpacked_bytes));
        let seen = unpacked(&bytes, &NameRules::default());
        let seen = seen.map(|files| (files.len() as u64, files.iter().map(|(_, data)| data.len() as u64).sum()));
        // What the scan refuses never comes here; the warden has its own checks for that.
        if expected.is_ok() && seen != expected {
            wrong.push(format!("{}: the scan says {expected:?}, the warden {seen:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_folder_of_the_project_becomes_the_top_and_what_is_ignored_is_not_unpacked() {
    let device = Member { mode: 0o020_644, ..file("hw3/.git/null") };
    let archive = plain(&[
        folder("hw3/"),
        file("hw3/app.py"),
        file("./hw3/static/a.css"),
        file("__MACOSX/hw3/._app.py"),
        file("__MACOSX/../../escaped"),
        device,
        Member { flags: 1, ..file("hw3/venv/secret") },
    ]);
    let names = |files: Vec<(String, Vec<u8>)>| files.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(unpacked(&archive, &NameRules::default()).unwrap()), ["app.py", "static/a.css"]);
    let rules = NameRules { root: vec!["a.css".to_owned()], ..NameRules::default() };
    assert_eq!(names(unpacked(&archive, &rules).unwrap()), ["a.css"]);
    let rules = NameRules { ignore: Vec::new(), root: Vec::new() };
    assert!(unpacked(&archive, &rules).unwrap_err().contains("`..`"));
}

#[test]
fn a_link_becomes_a_file_that_holds_its_target_or_is_left_out() {
    let link = |name: &str, target: &str| Member { mode: 0o120_777, ..stored(name, target.as_bytes()) };
    let long = "x/".repeat(2049);
    let archive = plain(&[
        file("bin/real"),
        link("bin/inside", "./real"),
        link("bin/up", "../bin/real"),
        link("bin/outside", "../../real"),
        link("absolute", "/etc/passwd"),
        link("long", &long),
        link("folder/alone", "/tmp"),
    ]);
    let files = unpacked(&archive, &NameRules::default()).unwrap();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    assert_eq!(files, [("bin/inside", &b"./real"[..]), ("bin/real", b"abc"), ("bin/up", b"../bin/real")]);
    let only = plain(&[link("a", "/etc/passwd")]);
    assert!(unpacked(&only, &NameRules::default()).unwrap_err().contains("holds no file of a project"));
    // An archive of this service has no links.
    let (story, ..) = unpack_with(&archive, |input| input.max_entries = 100);
    assert!(story.rejection().contains("neither a plain file nor a folder"), "{}", story.rejection());
}

#[test]
fn a_file_made_of_a_link_cannot_be_executed() {
    let archive = plain(&[file("a"), Member { mode: 0o120_777, ..stored("b", b"a") }]);
    let (story, into, _folder) = unpack_with(&archive, |input| input.names = Some(NameRules::default()));
    assert_eq!(story.end.status, EndStatus::Done);
    assert_eq!(into.join("b").symlink_metadata().unwrap().permissions().mode() & 0o7777, 0o644);
}

#[test]
fn ignored_entries_do_not_count_and_those_of_the_project_do() {
    let ignored = (0..50).map(|number| file(&format!("node_modules/{number}.js")));
    let archive = plain(&ignored.chain([file("a"), file("b/c")]).collect::<Vec<_>>());
    let unpack_with_limit = |limit| {
        let (story, ..) = unpack_with(&archive, |input| {
            input.max_entries = limit;
            input.names = Some(NameRules::default());
        });
        story.end.status
    };
    assert_eq!(unpack_with_limit(3), EndStatus::Done);
    assert!(matches!(unpack_with_limit(2), EndStatus::Rejected { .. }));
}
