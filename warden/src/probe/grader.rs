//! Checks whether a stage can change the grader's tests: a process that is started like a stage tries to.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use assize_protocol::isolation::IsolationCheck;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::write_access;

const CHECK: &str = "grader";

/// Where the grader's tests are unpacked.
const FOLDER: &str = "/grader";

type Try = (&'static str, fn(&Path) -> io::Result<()>);

/// Acts that must be denied in the grader's folder, which contains `file` and `folder`.
const DENIED: &[Try] = &[
    ("open for writing", |at| OpenOptions::new().write(true).open(at.join("file")).map(drop)),
    ("open for appending", |at| OpenOptions::new().append(true).open(at.join("file")).map(drop)),
    ("truncate", |at| Ok(nix::unistd::truncate(&at.join("file"), 0)?)),
    ("create", |at| File::create_new(at.join("new")).map(drop)),
    ("remove", |at| fs::remove_file(at.join("file"))),
    ("rename", |at| fs::rename(at.join("file"), at.join("other"))),
    ("link", |at| fs::hard_link(at.join("file"), at.join("second"))),
    ("symlink", |at| symlink("/tmp", at.join("link"))),
    ("mkdir", |at| fs::create_dir(at.join("made"))),
    ("rmdir", |at| fs::remove_dir(at.join("folder"))),
    ("mkfifo", |at| Ok(mkfifo(&at.join("fifo"), Mode::S_IRWXU)?)),
    ("through /proc/self/root", |_| {
        OpenOptions::new().write(true).open(format!("/proc/self/root{FOLDER}/file")).map(drop)
    }),
];

/// Acts that must be permitted where a project may write, because ordinary programs need them.
const NEEDED: &[Try] = &[
    ("rename between folders", |at| {
        fs::create_dir(at.join("one"))?;
        fs::create_dir(at.join("two"))?;
        fs::write(at.join("one/file"), b"x")?;
        fs::rename(at.join("one/file"), at.join("two/file"))
    }),
    ("link between folders", |at| fs::hard_link(at.join("two/file"), at.join("one/file"))),
    ("truncate", |at| Ok(nix::unistd::truncate(&at.join("two/file"), 0)?)),
    ("remove", |at| fs::remove_dir_all(at.join("one")).and_then(|()| fs::remove_dir_all(at.join("two")))),
];

/// Tries every act in a process that is restricted to `writable` like a stage.
pub fn grader(writable: &[String]) -> IsolationCheck {
    let limit = "no stage can change the tests in it";
    let at = Path::new(FOLDER);
    let prepared = File::create_new(at.join("file")).and_then(|_| fs::create_dir(at.join("folder")));
    let seen = match prepared {
        Ok(()) => ask(writable).unwrap_or_else(|error| format!("it was not tried: {error}")),
        Err(error) => format!("{FOLDER} cannot be prepared: {error}"),
    };
    for entry in fs::read_dir(at).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        let _only_a_probe = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }
    if !write_access::is_supported() {
        let seen = format!("the kernel has no Landlock of version 3 (Linux 6.2); {seen}");
        return IsolationCheck { unavailable: true, ..IsolationCheck::new(CHECK, false, seen, limit) };
    }
    IsolationCheck::new(CHECK, seen == all_held(), seen, limit)
}

fn all_held() -> String {
    format!("{} ways to change it denied, {} to work elsewhere open", DENIED.len(), NEEDED.len())
}

fn ask(writable: &[String]) -> io::Result<String> {
    let own = "/proc/self/exe";
    let asked = Command::new(own)
        .args(["launch", &writable.len().to_string()])
        .args(writable)
        .args([own, "warden", "probe-grader"])
        .args(writable)
        .stdin(Stdio::null())
        .output()?;
    let report = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if report.is_empty() {
        Err(io::Error::other(String::from_utf8_lossy(&asked.stderr).trim().to_owned()))
    } else {
        Ok(report)
    }
}

/// The process that tries every act and prints the results. The folders of devices and processes are skipped: files
/// cannot be created there.
pub fn attempt(writable: &[OsString]) -> ExitCode {
    let done: Vec<&str> =
        DENIED.iter().filter(|(_, attempt)| attempt(Path::new(FOLDER)).is_ok()).map(|(name, _)| *name).collect();
    let mut report: Vec<String> = done.iter().map(|name| format!("possible: {name}")).collect();
    for folder in writable.iter().map(Path::new).filter(|folder| !matches!(folder.to_str(), Some("/dev" | "/proc"))) {
        let failed = NEEDED.iter().filter_map(|(name, attempt)| Some((name, attempt(folder).err()?)));
        report.extend(failed.map(|(name, error)| format!("{name} in {}: {error}", folder.display())));
    }
    println!("{}", if report.is_empty() { all_held() } else { report.join("; ") });
    ExitCode::SUCCESS
}
