//! Measures the quantities that a cell grants: processes, bytes, inodes, CPU time. Each check goes on until the cell
//! refuses, but at most to twice the limit.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};

use assize_protocol::isolation::IsolationCheck;

use crate::clock;

/// Time for which the CPUs are kept busy, in ms: three quota periods of the scheduler.
const SPIN_MS: u64 = 300;

/// Tolerance of the measured share: over [`SPIN_MS`] a quota of whole periods may grant one period in three too much at
/// the edges, and the measurement has an error of its own.
const CPU_TOLERANCE: f64 = 1.4;

/// Starts processes until the cell refuses one; this process counts.
pub fn pids(limit: u64) -> IsolationCheck {
    let mut children: Vec<Child> = Vec::new();
    let refusal = loop {
        if children.len() as u64 >= limit.saturating_mul(2) {
            break None;
        }
        let berth = Command::new("/proc/self/exe")
            .arg("berth")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match berth {
            Ok(child) => children.push(child),
            Err(error) => break Some(error),
        }
    };
    let reached = children.len() as u64 + 1;
    for child in &mut children {
        let _already_dead = child.kill();
    }
    for child in &mut children {
        let _already_collected = child.wait();
    }
    let is_refused = refusal.as_ref().is_some_and(|error| error.raw_os_error() == Some(Errno::EAGAIN as i32));
    let stopped_by = refusal.map_or_else(|| "nothing".to_owned(), |error| error.to_string());
    let seen = format!("{reached} processes, stopped by {stopped_by}");
    IsolationCheck::new("pids", is_refused && reached <= limit, seen, format!("{limit} processes"))
}

/// Writes one file in `folder` until the cell refuses.
pub fn bytes(check: &str, folder: &str, limit: u64) -> IsolationCheck {
    let path = Path::new(folder).join("assize-probe-bytes");
    let piece = vec![0x5A; 1 << 20];
    let mut reached: u64 = 0;
    let outcome = File::create_new(&path).and_then(|mut file| {
        while reached <= limit.saturating_mul(2) {
            reached += file.write(&piece)? as u64;
        }
        Ok(())
    });
    let _not_created = fs::remove_file(&path);
    full_file_system(
        check,
        outcome,
        format!("{reached} bytes"),
        reached > 0 && reached <= limit,
        format!("{limit} bytes"),
    )
}

/// Creates files in `folder` until the cell refuses.
pub fn inodes(check: &str, folder: &str, limit: u64) -> IsolationCheck {
    let home: PathBuf = Path::new(folder).join("assize-probe-inodes");
    let mut reached: u64 = 0;
    let outcome = fs::create_dir(&home).and_then(|()| {
        reached += 1;
        while reached <= limit.saturating_mul(2) {
            File::create_new(home.join(reached.to_string()))?;
            reached += 1;
        }
        Ok(())
    });
    let _not_created = fs::remove_dir_all(&home);
    let is_within = reached > 0 && reached <= limit;
    full_file_system(check, outcome, format!("{reached} files and folders"), is_within, format!("{limit} inodes"))
}

/// The check passes if the limit was reached in time and the error is that of a full file system.
fn full_file_system(
    check: &str,
    outcome: std::io::Result<()>,
    reached: String,
    is_within: bool,
    limit: String,
) -> IsolationCheck {
    let is_full =
        matches!(&outcome, Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded));
    let stopped_by = outcome.map_or_else(|error| error.to_string(), |()| "nothing".to_owned());
    IsolationCheck::new(check, is_full && is_within, format!("{reached}, stopped by {stopped_by}"), limit)
}

/// Compares the CPU time of busy threads with the elapsed time.
pub fn cpus(limit: f64) -> IsolationCheck {
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 64));
    let (began, used) = (clock::now_us(), used_us());
    let until = clock::after_ms(began, SPIN_MS);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| while clock::now_us() < until {});
        }
    });
    let wall_ms = clock::now_us().saturating_sub(began) / 1_000;
    let cpu_ms = used_us().saturating_sub(used) / 1_000;
    let share = ratio(cpu_ms, wall_ms);
    let seen = format!("{share:.2} CPUs: {cpu_ms} ms of CPU in {wall_ms} ms by {threads} threads");
    let wanted = format!("{limit} CPUs, with a tolerance of {CPU_TOLERANCE}");
    IsolationCheck::new("cpus", share <= limit * CPU_TOLERANCE, seen, wanted)
}

fn used_us() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0 };
    let (user, system) = (usage.user_time(), usage.system_time());
    let seconds = u64::try_from(user.tv_sec() + system.tv_sec()).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(user.tv_usec() + system.tv_usec()).unwrap_or(0)
}

fn ratio(part: u64, whole: u64) -> f64 {
    let [part, whole] = [part, whole].map(|ms| f64::from(u32::try_from(ms).unwrap_or(u32::MAX)));
    part / whole.max(1.0)
}
