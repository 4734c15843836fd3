//! The process of a stage between fork and its program: it gives up everything that the project must not inherit from the
//! warden, then executes the program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use assize_protocol::progress;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::Mode;
use nix::unistd::dup2_stdin;

use crate::{stage_seccomp, write_access};

/// Exit code of a shell for a program that was not found.
const EXIT_NOT_FOUND: u8 = 127;
/// Exit code of a shell for a program that was found but could not be executed.
const EXIT_NOT_EXECUTABLE: u8 = 126;

/// `args` are the number of folders that it may write beneath, these folders, the program's path, its `argv[0]`, and
/// its arguments. The rest (folder, environment, process group, pipes) was set by the warden.
///
/// Returns only if the program could not be executed; the warden has looked for it before, so what
/// remains are scripts with a missing interpreter and files in no executable format.
pub fn launch(args: &[OsString]) -> ExitCode {
    become_program(args, &Terms { data_bytes: 0, denies_ipc: false, reports: false })
}

/// As [`launch`], for a stage that may report the end of each test. Its stdin is the pipe for that: a process that is
/// created by safe code gets no other descriptor.
pub fn launch_reporting(args: &[OsString]) -> ExitCode {
    become_program(args, &Terms { data_bytes: 0, denies_ipc: false, reports: true })
}

/// As [`launch`], for the program of a call: before the other arguments stand the limit of its data in bytes (0: none),
/// and `fresh` if nothing may be left for the next call.
pub fn launch_call(args: &[OsString]) -> ExitCode {
    let terms = args.split_first_chunk().and_then(|([data, kept], rest)| {
        let data_bytes = data.to_str()?.parse().ok()?;
        Some((Terms { data_bytes, denies_ipc: kept == "fresh", reports: false }, rest))
    });
    match terms {
        Some((terms, rest)) => become_program(rest, &terms),
        None => {
            eprintln!("warden launch-call: {} arguments; expected a number of bytes, fresh or kept, ..", args.len());
            ExitCode::from(crate::EXIT_USAGE)
        }
    }
}

/// In what programs differ.
struct Terms {
    /// Limit of the data of each process, in bytes; 0: none.
    data_bytes: u64,
    /// Objects of System V outlive the process that made them.
    denies_ipc: bool,
    /// Its stdin becomes descriptor [`progress::FD`].
    reports: bool,
}

fn become_program(args: &[OsString], terms: &Terms) -> ExitCode {
    let Some((writable, [path, argv0, rest @ ..])) = split(args) else {
        eprintln!(
            "warden launch: {} arguments; expected a number of folders, the folders, a path and an argv[0]",
            args.len()
        );
        return ExitCode::from(crate::EXIT_USAGE);
    };

    // When the cell runs out of memory, the kernel must take the project before the warden. It is
    // best effort: the worker reads the OOM counters of the cgroup in any case.
    let _best_effort = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _best_effort = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // The warden blocks SIGCHLD, and masks outlive exec.
    let _best_effort = SigSet::all().thread_swap_mask(SigmaskHow::SIG_UNBLOCK);
    close_all_but_standard();
    if terms.reports
        && let Err(errno) = move_stdin()
    {
        eprintln!("warden: the program was not started, because it cannot get descriptor {}: {errno}", progress::FD);
        return ExitCode::from(EXIT_NOT_EXECUTABLE);
    }
    if let Err(error) = write_access::restrict(writable) {
        eprintln!("warden: the program was not started, because its write access could not be restricted: {error}");
        return ExitCode::from(EXIT_NOT_EXECUTABLE);
    }
    if let Err(error) = stage_seccomp::install(terms.denies_ipc) {
        eprintln!(
            "warden: the program was not started, because its system call filter could not be installed: {error}"
        );
        return ExitCode::from(EXIT_NOT_EXECUTABLE);
    }

    let mut command = Command::new(path);
    command.arg0(argv0).args(rest);
    if terms.data_bytes > 0
        && let Err(errno) = setrlimit(Resource::RLIMIT_DATA, terms.data_bytes, terms.data_bytes)
    {
        eprintln!("warden: the program was not started, because its memory could not be limited: {errno}");
        return ExitCode::from(EXIT_NOT_EXECUTABLE);
    }
    let error = command.exec();
    eprintln!("warden: cannot execute {}: {error}", path.display());
    ExitCode::from(match error.kind() {
        std::io::ErrorKind::NotFound => EXIT_NOT_FOUND,
        _ => EXIT_NOT_EXECUTABLE,
    })
}

/// Makes stdin the descriptor for progress, which the program keeps, and `/dev/null` its stdin.
fn move_stdin() -> nix::Result<()> {
    // Every other descriptor is closed, so this one gets the lowest number that is allowed.
    if fcntl(io::stdin(), FcntlArg::F_DUPFD(progress::FD))? != progress::FD {
        return Err(Errno::EBUSY);
    }
    dup2_stdin(open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// The folders, and what comes after them.
fn split(args: &[OsString]) -> Option<(&[OsString], &[OsString])> {
    let (count, rest) = args.split_first()?;
    rest.split_at_checked(count.to_str()?.parse().ok()?)
}

/// Every descriptor of the warden is close-on-exec already. This is the second lock: a descriptor
/// that some runtime leaked into the cell (CVE-2024-21626) ends here.
fn close_all_but_standard() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in open {
        // One of them was the listing itself, which is closed by now.
        let _closed_already = nix::unistd::close(fd);
    }
}
