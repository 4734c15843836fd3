//! Checks the resource limits of every process of a cell (`setrlimit`).

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use assize_protocol::isolation::{ExpectedIsolation, IsolationCheck};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

/// Of those that are to be tried.
pub fn findings(expected: &ExpectedIsolation) -> Vec<IsolationCheck> {
    let limits = [
        ("core", Resource::RLIMIT_CORE, expected.core),
        ("memlock", Resource::RLIMIT_MEMLOCK, expected.memlock),
        ("msgqueue", Resource::RLIMIT_MSGQUEUE, expected.msgqueue),
        ("nofile", Resource::RLIMIT_NOFILE, expected.nofile),
        ("fsize", Resource::RLIMIT_FSIZE, expected.fsize),
    ];
    let limits = limits.into_iter().filter_map(|(check, resource, limit)| Some((check, resource, limit?)));
    limits.map(|(check, resource, limit)| finding(check, resource, limit)).collect()
}

fn finding(check: &str, resource: Resource, limit: u64) -> IsolationCheck {
    let (soft, hard) = match getrlimit(resource) {
        Ok(limits) => limits,
        Err(errno) => return IsolationCheck::new(check, false, errno.to_string(), limit.to_string()),
    };
    let (is_refused, what) = match resource {
        Resource::RLIMIT_NOFILE => open_files(limit),
        Resource::RLIMIT_FSIZE => longest_file(limit),
        _ => (true, String::new()),
    };
    IsolationCheck::new(
        check,
        hard <= limit && is_refused,
        format!("soft {soft}, hard {hard}{what}"),
        limit.to_string(),
    )
}

/// Opens one file more than the limit permits.
fn open_files(limit: u64) -> (bool, String) {
    let mut open: Vec<OwnedFd> = Vec::new();
    while (open.len() as u64) < limit {
        match File::open("/dev/null") {
            Ok(file) => open.push(file.into()),
            Err(error) => {
                let is_refused = error.raw_os_error() == Some(Errno::EMFILE as i32);
                return (is_refused, format!(", {} more were opened, then: {error}", open.len()));
            }
        }
    }
    (false, format!(", {} more were opened", open.len()))
}

/// Creates a sparse file that is one byte longer than the limit.
fn longest_file(limit: u64) -> (bool, String) {
    let path = "/tmp/assize-probe-long";
    let outcome = File::create_new(path).and_then(|file| file.set_len(limit.saturating_add(1)));
    let _not_created = fs::remove_file(path);
    match outcome {
        Ok(()) => (false, ", a file of a byte more was made".to_owned()),
        Err(error) => (error.kind() == ErrorKind::FileTooLarge, format!(", a file of a byte more: {error}")),
    }
}
