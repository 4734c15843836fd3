//! Memory and time of the scan are bounded for every archive up to the limit of bytes.
//!
//! The test starts this test binary again for each archive: the kernel counts the memory of that process and the CPU
//! time of its thread, so that neither depends on what else the host does.

use super::crafted::{Ending, Member, archive, file, longs, numbers, spooled};
use super::{ArchiveProblem, ScanLimits, scan};
use std::process::Command;

/// Seconds of CPU for the worst archive, in an unoptimised build; measured: below 2.
const MAX_SECONDS: i64 = 20;

/// KiB that a scan may add to a process; measured: 40 MiB.
const MAX_KIB: u64 = 96 * 1024;

/// Set in the process that does the work.
const INSIDE: &str = "ASSIZE_TEST_WORST_ARCHIVE";

/// Archives that cost the most of something, each with what it is refused for.
fn worst(which: &str) -> (Vec<u8>, &'static str) {
    match which {
        // Every folder of every name is one of its own: the largest tree.
        "tree" => (archive(&many(10_000, |i| wide(i, 500)), &Ending::default()), "accepted"),
        // Names at their longest that fold to others.
        "names" => (
            archive(
                &many(10_000, |i| format!("{i:05}{}", vec!["\u{1e9e}\u{344}".repeat(47); 4].join("/"))),
                &Ending::default(),
            ),
            "accepted",
        ),
        // Each local header has 64 KiB of extra fields, which lie over all the headers that follow.
        "extras" => (nested_extras(), "overlap"),
        // One entry as large as the limit; nothing is read of it.
        "large" => {
            let data = vec![0; 90 << 20];
            let size = u32::try_from(data.len()).expect("short");
            (archive(&[Member { data, packed: size, unpacked: size, ..file("a") }], &Ending::default()), "accepted")
        }
        // A comment that is an end record at every fourth byte.
        "ends" => (
            archive(&[file("a")], &Ending { comment: b"PK\x05\x06".repeat(16_000), ..Ending::default() }),
            "false_end_record",
        ),
        // 100 MiB in which nothing is an archive.
        "noise" => (vec![b'P'; 100 << 20], "not_a_zip"),
        other => panic!("there is no archive {other}"),
    }
}

const WORST: [&str; 6] = ["tree", "names", "extras", "large", "ends", "noise"];

fn many(count: usize, name: impl Fn(usize) -> String) -> Vec<Member> {
    (0..count).map(|i| Member { data: Vec::new(), packed: 0, unpacked: 0, ..file(&name(i)) }).collect()
}

/// A name of 32 components and about `bytes` bytes that shares none with any other.
fn wide(number: usize, bytes: usize) -> String {
    let component = format!("{number:05}{}", "x".repeat(bytes / 32 - 6));
    [component.as_str(); 32].join("/")
}

fn nested_extras() -> Vec<u8> {
    const ENTRIES: u32 = 10_000;
    let header = |name: &str, extra: u16| {
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.extend(numbers(&[20, 0, 0]));
        bytes.extend(longs(&[0, 0, 0, 0]));
        bytes.extend(numbers(&[u16::try_from(name.len()).expect("short"), extra]));
        bytes.extend(name.as_bytes());
        bytes
    };
    let (mut local, mut central) = (Vec::new(), Vec::new());
    for i in 0..ENTRIES {
        let name = format!("{i:05}");
        let at = u32::try_from(local.len()).expect("short");
        local.extend(header(&name, 39 * 1666));
        // An extra field that holds the header which follows, so that the list can be read.
        local.extend(numbers(&[0xffff, 35]));
        central.extend(b"PK\x01\x02");
        central.extend([20, 3]);
        central.extend(numbers(&[20, 0, 0]));
        central.extend(longs(&[0, 0, 0, 0]));
        central.extend(numbers(&[5, 0, 0, 0, 0]));
        central.extend(longs(&[0o100_644 << 16, at]));
        central.extend(name.as_bytes());
    }
    // Whole fields for the last headers to read.
    local.extend([numbers(&[0xffff, 35]), vec![0; 35]].concat().repeat(2000));
    let (offset, len) = (u32::try_from(local.len()).expect("short"), u32::try_from(central.len()).expect("short"));
    local.extend(central);
    local.extend(b"PK\x05\x06");
    local.extend(numbers(&[0, 0, 10_000, 10_000]));
    local.extend(longs(&[len, offset]));
    local.extend([0, 0]);
    local
}

/// The most memory that this process ever had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Begins to count the peak anew.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux");
}

/// CPU time of this thread.
fn cpu() -> rustix::time::Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)
}

/// Does the work in the process that [`every_worst_archive_costs_little`] starts.
#[test]
#[ignore = "started by every_worst_archive_costs_little"]
fn inside() {
    let Ok(which) = std::env::var(INSIDE) else { return };
    let (bytes, expected) = worst(&which);
    let spool = spooled(&bytes);
    drop(bytes);
    forget_peak();
    let (memory, time) = (peak_kib(), cpu());
    let code =
        scan(&spool, &ScanLimits::default()).map_or_else(|problem: ArchiveProblem| problem.code(), |_| "accepted");
    let (seconds, kib) = (cpu().tv_sec - time.tv_sec, peak_kib() - memory);
    println!("{which}: {code}, {seconds} s, {kib} KiB");
    assert_eq!(code, expected, "{which}");
    assert!(seconds <= MAX_SECONDS, "{which} took {seconds} s of CPU");
    assert!(kib <= MAX_KIB, "{which} took {kib} KiB");
}

#[test]
fn every_worst_archive_costs_little() {
    let this = std::env::current_exe().expect("this binary");
    for which in WORST {
        let mut command = Command::new(&this);
        command.args(["--exact", "bounds_tests::inside", "--ignored", "--nocapture"]);
        let output = command.env(INSIDE, which).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(&format!("{which}: ")), "{text}");
        println!("{}", text.lines().find(|line| line.contains(&format!("{which}: "))).unwrap_or_default());
    }
}
