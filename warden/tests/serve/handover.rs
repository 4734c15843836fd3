//! Inputs that are kept back, and what the stages before them can and cannot do about it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assize_corpus::{folder, stored};
use assize_protocol::event::{EndStatus, StageExit};
use assize_protocol::frame::Kind;
use assize_protocol::plan::{Input, Plan, Scratch, Stage};

use crate::archives::plain;
use crate::cell::{Cell, Story};

const OK: StageExit = StageExit::Exited { code: 0 };

/// One stage, then an input with the file `test`, then another stage.
fn around(cell: &Cell, first: &str, second: &str) -> Plan {
    let input = Input { before: Some(1), ..cell.input() };
    Plan { inputs: vec![input], stages: vec![cell.shell(first), cell.shell(second)], ..cell.empty_plan() }
}

fn run(mut cell: Cell, plan: &Plan) -> (Story, tempfile::TempDir) {
    cell.send_plan(plan);
    cell.send_archive(0, &plain(&[stored("test", b"the test"), stored("deep/er", b"x")]));
    let folder = std::mem::replace(&mut cell.folder, tempfile::tempdir().unwrap());
    (cell.story(), folder)
}

fn spoiled(first: &str) -> (String, tempfile::TempDir) {
    let cell = Cell::start();
    let plan = around(&cell, first, "echo judged");
    let (story, folder) = run(cell, &plan);
    assert_eq!((story.exits(), story.text().as_str()), (vec![OK], ""), "{first}: only the first stage runs");
    match story.end.status {
        EndStatus::Spoiled { input: 0, reason } => (reason, folder),
        other => panic!("{first}: not spoiled but {other:?}"),
    }
}

#[test]
fn an_input_that_is_kept_back_is_there_for_its_stage_and_not_before() {
    let cell = Cell::start();
    let plan = around(&cell, "ls into; echo built", "cat into/test");
    let (story, _folder) = run(cell, &plan);
    assert_eq!(story.text(), "built\nthe test");
    assert_eq!(story.exits(), [OK, OK]);
}

#[test]
fn nothing_of_the_stages_before_lives_when_it_comes() {
    let mut cell = Cell::start_as_init();
    // Inside, a file system lies over the cell's folder, so the input's is made by the stage.
    let into = cell.path().join("made").display().to_string();
    let input = Input { into, before: Some(1), ..cell.input() };
    let daemon = "mkdir made; setsid sh -c 'trap \"\" TERM HUP; echo > up; while :; do [ -e made/test ] && echo forged > made/test; done' &
        while [ ! -e up ]; do :; done";
    let look = "cat made/test; for p in /proc/[0-9]*; do read name < $p/comm && echo $name; done";
    let stages = vec![cell.shell(daemon), cell.shell(look)];
    cell.send_plan(&Plan { inputs: vec![input], stages, ..cell.empty_plan() });
    cell.send_archive(0, &plain(&[stored("test", b"the test\n")]));
    let story = cell.story();
    assert_eq!(story.exits(), [OK, OK]);
    assert_eq!(story.text(), "the test\nwarden\nsh\n");
}

#[test]
fn what_is_in_its_folder_already_is_never_merged_with_it() {
    for first in [
        "echo forged > into/test",
        "echo > into/conftest.py",
        "ln -s /etc/passwd into/test",
        "ln -s .. into/deep",
        "mkfifo into/test",
        "mkdir -p into/deep/er",
        "echo > into/.hidden; chmod 0 into",
    ] {
        let (reason, folder) = spoiled(first);
        assert!(reason.contains("which must be empty"), "{first}: {reason}");
        let names: Vec<_> = std::fs::read_dir(folder.path().join("into")).unwrap().collect();
        assert_eq!(names.len(), 1, "{first}: nothing was added");
    }
}

#[test]
fn what_stands_in_its_folders_place_is_not_followed() {
    for first in [
        "rmdir into",
        "rmdir into; echo > into",
        "rmdir into; mkfifo into",
        "rmdir into; mkdir other; ln -s other into",
        "rmdir into; mkdir other; mv other into; mkdir victim; rmdir into; ln -s victim into",
    ] {
        let (reason, folder) = spoiled(first);
        assert!(reason.contains("is not the folder it was"), "{first}: {reason}");
        for other in ["other", "victim"].map(|name| folder.path().join(name)) {
            assert!(!other.join("test").exists(), "{first}");
        }
    }
}

#[test]
fn a_folder_whose_mode_was_taken_away_is_given_back() {
    let cell = Cell::start();
    let plan = around(&cell, "chmod 0 into", "stat -c %a into into/test into/deep into/deep/er");
    let (story, _folder) = run(cell, &plan);
    assert_eq!(story.text(), "700\n644\n755\n644\n");
    assert_eq!(story.exits(), [OK, OK]);
}

#[test]
fn a_disk_whose_mode_was_taken_away_is_given_back_before_each_stage() {
    let cell = Cell::start();
    let disk = cell.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let stages = vec![cell.shell("chmod 0 disk"), cell.shell("stat -c %a disk")];
    let plan = Plan { stages, disks: vec![disk.display().to_string()], ..cell.empty_plan() };
    assert_eq!(cell.run(&plan).text(), "700\n");
}

/// An archive that takes seconds to unpack.
fn slow() -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated).large_file(true);
    writer.start_file("zeros", options).unwrap();
    for _ in 0..512 {
        writer.write_all(&vec![0; 1 << 20]).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn huge(cell: &Cell, first: &str) -> Plan {
    let plan = around(cell, first, "echo never");
    let inputs = plan.inputs.into_iter().map(|input| Input { max_bytes: 1 << 40, ..input }).collect();
    Plan { inputs, ..plan }
}

#[test]
fn finish_is_heard_while_it_is_unpacked() {
    let mut cell = Cell::start();
    let plan = huge(&cell, "true");
    cell.send_plan(&plan);
    cell.send_archive(0, &slow());
    cell.wait(Kind::StageEnded);
    cell.send(Kind::Finish, &[]);
    let story = cell.story();
    assert_eq!((story.exits(), story.text()), (vec![OK], String::new()));
    assert_eq!(story.end.status, EndStatus::Done);
}

#[test]
fn time_that_the_stages_before_used_up_is_not_the_archives_fault() {
    let mut cell = Cell::start();
    let archive = slow();
    let plan = Plan { global_timeout_ms: 700, ..huge(&cell, "sleep 0.6") };
    cell.send_plan(&plan);
    cell.send_archive(0, &archive);
    let story = cell.story();
    assert_eq!(story.exits(), [OK, StageExit::GlobalTimedOut]);
    assert_eq!(story.end.status, EndStatus::Done);
}

#[test]
fn room_that_the_stages_before_used_up_is_told_from_an_archive_that_is_too_large() {
    for (first, is_spoiled) in [("true", false), ("head -c 100k /dev/zero > elsewhere", true)] {
        let mut cell = Cell::start_as_init();
        let into = cell.path().join("made").display().to_string();
        // The folder must be there when the input comes: before the first stage, another input makes it.
        let maker = Input { into: cell.path().display().to_string(), ..cell.input() };
        let kept = Input { into, before: Some(1), ..maker.clone() };
        let stages = vec![cell.shell(first), cell.shell("echo never")];
        cell.send_plan(&Plan { inputs: vec![maker, kept], stages, ..cell.empty_plan() });
        cell.send_archive(0, &plain(&[folder("made/")]));
        cell.send_archive(1, &plain(&[stored("large", &vec![b'x'; 300 << 10])]));
        let status = cell.story().end.status;
        assert_eq!(matches!(status, EndStatus::Spoiled { input: 1, .. }), is_spoiled, "{status:?}");
        assert_eq!(matches!(status, EndStatus::DiskFull { input: 1, .. }), !is_spoiled, "{status:?}");
    }
}

#[test]
fn a_plan_that_keeps_an_input_back_from_nobody_is_refused() {
    for (before, words) in [(2, "there are 2 stages"), (1, "the service stage already runs")] {
        let cell = Cell::start();
        let input = Input { before: Some(before), ..cell.input() };
        let stages = vec![cell.service("true", 1, None), cell.shell("true")];
        let plan = Plan { inputs: vec![input], stages, ..cell.empty_plan() };
        let story = cell.run(&plan);
        assert!(story.fault().contains(words), "{}", story.fault());
    }
}

/// Linux 6.2 or later; before that a kernel holds nobody, or not in all.
fn kernel_can_hold() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(2))
}

#[test]
fn a_stage_writes_only_beneath_the_folders_of_its_plan() {
    if !kernel_can_hold() {
        return;
    }
    let cell = Cell::start();
    for folder in ["open/one", "open/two", "shut/one"] {
        std::fs::create_dir_all(cell.path().join(folder)).unwrap();
    }
    std::fs::write(cell.path().join("shut/file"), "as it was").unwrap();
    let line = "exec 2>/dev/null
        echo > shut/new && echo create
        echo > shut/file && echo write
        truncate -s 0 shut/file && echo truncate
        rm -f shut/file && echo remove
        mv shut/file open/file && echo take
        mv shut/file shut/other && echo rename
        ln shut/file open/file && echo link
        ln -s /etc shut/link && echo symlink
        mkdir shut/folder && echo mkdir
        rmdir shut/one && echo rmdir
        mkfifo shut/fifo && echo mkfifo
        echo > /proc/self/cwd/shut/file && echo magic
        (exec sh -c 'echo > shut/file') && echo child
        echo > open/one/file && mv open/one/file open/two/file && ln open/two/file open/one/again && rm -r open/one &&
            mkfifo open/fifo && ln -s x open/link && truncate -s 9 open/two/file && cat shut/file";
    let writable = ["open", "/dev", "no-such"].map(|name| cell.path().join(name).display().to_string()).into();
    let plan = Plan { stages: vec![cell.shell(line)], writable, ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!(story.text(), "as it was");
    assert_eq!(story.exits(), [OK]);
}

fn with_scratch(cell: &Cell, into: &Path, line: &str) -> Stage {
    let scratch = Scratch { into: into.display().to_string(), variables: vec!["HOME".into(), "TMPDIR".into()] };
    Stage { scratch: Some(scratch), ..cell.shell(line) }
}

#[test]
fn a_stage_gets_a_new_folder_under_a_name_that_nobody_knew() {
    let say = "ls -A $HOME; stat -c %a $HOME; [ $HOME = $TMPDIR ] && echo > $HOME/x && echo $HOME";
    let folders: Vec<String> = (0..2)
        .map(|_| {
            let cell = Cell::start();
            let plan = Plan { stages: vec![with_scratch(&cell, cell.path(), say)], ..cell.empty_plan() };
            let parent = cell.path().display().to_string();
            let text = cell.run(&plan).text();
            let (mode, folder) = text.trim().split_once('\n').unwrap();
            assert!(mode == "700" && folder.starts_with(&parent), "{text}");
            folder.rsplit('/').next().unwrap().to_owned()
        })
        .collect();
    assert_ne!(folders[0], folders[1]);
}

#[test]
fn without_room_for_its_folder_a_stage_starts_all_the_same_and_is_given_none_of_others() {
    let cell = Cell::start();
    let missing = cell.path().join("missing");
    let plan = Plan { stages: vec![with_scratch(&cell, &missing, "echo $HOME $TMPDIR")], ..cell.empty_plan() };
    let story = cell.run(&plan);
    assert_eq!((story.text().as_str(), story.exits()), ("/nonexistent /nonexistent\n", vec![OK]));
    assert_eq!(missing.metadata().map(|seen| seen.permissions().mode()).ok(), None);
}
