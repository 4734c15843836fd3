//! The system calls that a cell must be denied, by class.
//!
//! The arguments are chosen so that a permitted call changes nothing: null pointers, descriptors that do not exist. A
//! denied call returns EPERM before the kernel reads its arguments; a kernel without the call returns ENOSYS.

use assize_protocol::isolation::IsolationCheck;
use nix::errno::Errno;

use super::program::{self, Call, Ran};

/// Calls that must be denied for one reason.
struct Class {
    check: &'static str,
    calls: &'static [Denied],
}

struct Denied {
    name: &'static str,
    x86_64: u32,
    aarch64: Option<u32>,
    args: &'static [u64],
    forks: bool,
}

const fn call(name: &'static str, x86_64: u32, aarch64: Option<u32>, args: &'static [u64]) -> Denied {
    Denied { name, x86_64, aarch64, args, forks: false }
}

const fn forking(name: &'static str, x86_64: u32, aarch64: Option<u32>, args: &'static [u64]) -> Denied {
    Denied { name, x86_64, aarch64, args, forks: true }
}

/// Numbers are those of the kernel's tables, first of x86-64, then of aarch64 where it has the call.
const CLASSES: &[Class] = &[
    Class {
        check: "seccomp_io_uring",
        calls: &[
            call("io_uring_setup", 425, Some(425), &[8]),
            call("io_uring_enter", 426, Some(426), &[0xFFFF_FFFF_FFFF_FFFF]),
            call("io_uring_register", 427, Some(427), &[0xFFFF_FFFF_FFFF_FFFF]),
        ],
    },
    Class { check: "seccomp_userfaultfd", calls: &[call("userfaultfd", 323, Some(282), &[1])] },
    Class {
        check: "seccomp_keys",
        calls: &[
            call("keyctl", 250, Some(219), &[0, 0xFFFF_FFFD]),
            call("add_key", 248, Some(217), &[]),
            call("request_key", 249, Some(218), &[]),
        ],
    },
    Class { check: "seccomp_bpf", calls: &[call("bpf", 321, Some(280), &[0xFFFF_FFFF_FFFF_FFFF])] },
    Class { check: "seccomp_perf", calls: &[call("perf_event_open", 298, Some(241), &[])] },
    Class {
        check: "seccomp_namespaces",
        calls: &[
            call("unshare", 272, Some(97), &[0x1000_0000]),
            call("unshare", 272, Some(97), &[0x4000_0000]),
            call("unshare", 272, Some(97), &[0x0002_0000]),
            call("setns", 308, Some(268), &[0xFFFF_FFFF_FFFF_FFFF]),
            forking("clone", 56, Some(220), &[0x1000_0011]),
            forking("clone", 56, Some(220), &[0x4000_0011]),
            forking("clone", 56, Some(220), &[0x2000_0011]),
            forking("clone", 56, Some(220), &[0x0002_0011]),
        ],
    },
    Class {
        check: "seccomp_mounts",
        calls: &[
            call("mount", 165, Some(40), &[]),
            call("umount2", 166, Some(39), &[]),
            call("pivot_root", 155, Some(41), &[]),
            call("chroot", 161, Some(51), &[]),
            call("open_tree", 428, Some(428), &[0xFFFF_FFFF_FFFF_FFFF]),
            call("move_mount", 429, Some(429), &[0xFFFF_FFFF_FFFF_FFFF]),
            call("fsopen", 430, Some(430), &[]),
            call("fsconfig", 431, Some(431), &[0xFFFF_FFFF_FFFF_FFFF]),
            call("fsmount", 432, Some(432), &[0xFFFF_FFFF_FFFF_FFFF]),
            call("fspick", 433, Some(433), &[0xFFFF_FFFF_FFFF_FFFF]),
            call("mount_setattr", 442, Some(442), &[0xFFFF_FFFF_FFFF_FFFF]),
        ],
    },
    Class {
        check: "seccomp_handles",
        calls: &[
            call("name_to_handle_at", 303, None, &[0xFFFF_FFFF_FFFF_FFFF]),
            call("open_by_handle_at", 304, None, &[0xFFFF_FFFF_FFFF_FFFF]),
            call("fanotify_init", 300, Some(262), &[]),
            call("fanotify_mark", 301, Some(263), &[0xFFFF_FFFF_FFFF_FFFF]),
        ],
    },
    Class {
        check: "seccomp_trace",
        calls: &[
            call("ptrace", 101, Some(117), &[]),
            call("process_vm_readv", 310, Some(270), &[]),
            call("process_vm_writev", 311, Some(271), &[]),
            call("process_madvise", 440, Some(440), &[0xFFFF_FFFF_FFFF_FFFF]),
            call("kcmp", 312, Some(272), &[]),
            call("pidfd_getfd", 438, Some(438), &[0xFFFF_FFFF_FFFF_FFFF]),
        ],
    },
    Class {
        check: "seccomp_numa",
        calls: &[
            call("mbind", 237, Some(235), &[]),
            call("set_mempolicy", 238, Some(237), &[]),
            call("get_mempolicy", 239, Some(236), &[]),
            call("migrate_pages", 256, Some(238), &[]),
            call("move_pages", 279, Some(239), &[]),
        ],
    },
    Class {
        check: "seccomp_sockets",
        calls: &[
            call("socket", 41, Some(198), &[17, 3]),
            call("socket", 41, Some(198), &[2, 3, 1]),
            call("socket", 41, Some(198), &[10, 3, 58]),
            call("socket", 41, Some(198), &[2, 1, 132]),
            call("socket", 41, Some(198), &[16, 3, 12]),
            call("socket", 41, Some(198), &[38, 5]),
            call("socket", 41, Some(198), &[40, 1]),
            call("socketpair", 53, Some(199), &[30, 1]),
        ],
    },
    Class {
        check: "seccomp_devices",
        calls: &[
            call("mknodat", 259, Some(33), &[0xFFFF_FF9C, 0, 0x2000]),
            call("mknodat", 259, Some(33), &[0xFFFF_FF9C, 0, 0x6000]),
            call("mknod", 133, None, &[0, 0x2000]),
        ],
    },
    Class {
        check: "seccomp_personality",
        calls: &[call("personality", 135, Some(92), &[0x0040_0000]), call("personality", 135, Some(92), &[8])],
    },
    Class {
        check: "seccomp_kernel",
        calls: &[
            call("init_module", 175, Some(105), &[]),
            call("finit_module", 313, Some(273), &[0xFFFF_FFFF_FFFF_FFFF]),
            call("delete_module", 176, Some(106), &[]),
            call("kexec_load", 246, Some(104), &[]),
            call("kexec_file_load", 320, Some(294), &[0xFFFF_FFFF_FFFF_FFFF]),
            call("reboot", 169, Some(142), &[]),
            call("swapon", 167, Some(224), &[]),
            call("swapoff", 168, Some(225), &[]),
            call("acct", 163, Some(89), &[]),
            call("quotactl", 179, Some(60), &[]),
            call("syslog", 103, Some(116), &[10]),
            call("sethostname", 170, Some(161), &[]),
            call("setdomainname", 171, Some(162), &[]),
            call("settimeofday", 164, Some(170), &[]),
            call("clock_settime", 227, Some(112), &[]),
            call("clock_adjtime", 305, Some(266), &[]),
            call("adjtimex", 159, Some(171), &[]),
            call("vhangup", 153, Some(58), &[]),
            call("iopl", 172, None, &[]),
            call("ioperm", 173, None, &[]),
            call("modify_ldt", 154, None, &[]),
            call("lookup_dcookie", 212, Some(18), &[]),
            call("remap_file_pages", 216, Some(234), &[]),
            call("sysfs", 139, None, &[3]),
            call("ustat", 136, None, &[]),
            call("uselib", 134, None, &[]),
        ],
    },
];

/// `clone3` has its flags in memory, where no filter can read them. So it must return ENOSYS, and libraries fall back
/// to `clone`. The number is the same on all machines.
const CLONE3: u32 = 435;

impl Denied {
    fn here(&self) -> Option<Call> {
        let number = if cfg!(target_arch = "aarch64") { self.aarch64? } else { self.x86_64 };
        let mut args = [0; 6];
        for (slot, arg) in args.iter_mut().zip(self.args) {
            *slot = *arg;
        }
        Some(Call { number, args, forks: self.forks })
    }
}

/// Returns one check per class.
pub fn findings() -> Vec<IsolationCheck> {
    let mut findings: Vec<IsolationCheck> = CLASSES.iter().map(finding).collect();
    findings.push(clone3());
    findings.push(foreign());
    findings
}

fn finding(class: &Class) -> IsolationCheck {
    let limit = "EPERM or ENOSYS";
    let (names, calls): (Vec<&str>, Vec<Call>) =
        class.calls.iter().filter_map(|denied| Some((denied.name, denied.here()?))).unzip();
    let returned = match program::make(&calls) {
        Ok(Ran::Returned(returned)) => returned,
        Ok(Ran::Killed(signal)) => {
            return IsolationCheck::new(class.check, true, format!("ended by signal {signal}"), limit);
        }
        Err(error) => return IsolationCheck::new(class.check, false, format!("cannot be tried: {error}"), limit),
    };
    let is_denied = |value: i64| [Errno::EPERM, Errno::ENOSYS].iter().any(|errno| value == -i64::from(*errno as i32));
    let allowed: Vec<String> = names
        .iter()
        .zip(&returned)
        .filter(|(_, value)| !is_denied(**value))
        .map(|(name, value)| format!("{name} returned {}", words(*value)))
        .collect();
    let seen = if allowed.is_empty() { format!("{} calls denied", names.len()) } else { allowed.join(", ") };
    IsolationCheck::new(class.check, allowed.is_empty(), seen, limit)
}

fn clone3() -> IsolationCheck {
    let (check, limit) = ("seccomp_clone3", "ENOSYS");
    match program::make(&[Call { number: CLONE3, args: [0; 6], forks: true }]) {
        Ok(Ran::Returned(returned)) => {
            let ok = returned == [-i64::from(Errno::ENOSYS as i32)];
            IsolationCheck::new(check, ok, returned.first().map_or_else(String::new, |value| words(*value)), limit)
        }
        Ok(Ran::Killed(signal)) => IsolationCheck::new(check, false, format!("ended by signal {signal}"), limit),
        Err(error) => IsolationCheck::new(check, false, format!("cannot be tried: {error}"), limit),
    }
}

/// Makes calls through the 32-bit entry of the kernel, whose numbers differ from those that the filter compares.
fn foreign() -> IsolationCheck {
    let (check, limit) = ("seccomp_32_bit", "ended by a signal");
    match program::make_32_bit() {
        None => IsolationCheck::new(check, true, "there is no such gate", limit),
        Some(Ok(Ran::Killed(signal))) => IsolationCheck::new(check, true, format!("ended by signal {signal}"), limit),
        Some(Ok(Ran::Returned(returned))) => IsolationCheck::new(
            check,
            false,
            format!("getpid returned {}", returned.first().copied().unwrap_or(0)),
            limit,
        ),
        Some(Err(error)) => IsolationCheck::new(check, false, format!("cannot be tried: {error}"), limit),
    }
}

fn words(value: i64) -> String {
    match i32::try_from(-value) {
        Ok(errno) if errno > 0 => Errno::from_raw(errno).to_string(),
        _ => value.to_string(),
    }
}
