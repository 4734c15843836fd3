//! Which system calls a cell may make.
//!
//! `seccomp.json` is an allow-list in the engine's own format: what is not in it says EPERM, so a call that a
//! later kernel brings is denied until somebody has looked at it. It goes to the engine with every cell,
//! so nothing has to be installed. Read it top to bottom: the groups say what their calls are for, and
//! the rules at its end what an argument must be.
//!
//! What it denies beyond the engine's default: `io_uring`, tracing and reading other processes, raw, packet
//! and vsock sockets and all rare protocols, netlink but for routes, device nodes, 32-bit programs,
//! personalities, handles, `modify_ldt`. What that costs: debuggers do not work in a cell, nor does the
//! leak check of AddressSanitizer (`ASAN_OPTIONS=detect_leaks=0`).

use std::sync::LazyLock;

/// As the engine wants it: one line, without comments.
pub static PROFILE: LazyLock<String> = LazyLock::new(|| compact(include_str!("seccomp.json")));

/// For berths: a cell's, and `unshare` of a network namespace alone. The berth's own filter leaves it
/// far fewer (`warden/src/berth.rs`); this one also holds before that is in place.
pub static BERTH_PROFILE: LazyLock<String> = LazyLock::new(|| {
    /// `CLONE_NEWNET` of Linux's `sched.h`.
    const NEW_NETWORK: u64 = 0x4000_0000;
    let mut profile = without_comments(include_str!("seccomp.json"));
    if let Some(rules) = profile["syscalls"].as_array_mut() {
        rules.push(serde_json::json!({
            "names": ["unshare"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": NEW_NETWORK, "op": "SCMP_CMP_EQ" }],
        }));
    }
    profile.to_string()
});

fn compact(text: &str) -> String {
    without_comments(text).to_string()
}

fn without_comments(text: &str) -> serde_json::Value {
    let mut profile: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    for rule in profile["syscalls"].as_array_mut().into_iter().flatten() {
        if let Some(rule) = rule.as_object_mut() {
            rule.remove("comment");
        }
    }
    profile
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn rules() -> Vec<Value> {
        let profile: Value = serde_json::from_str(&PROFILE).unwrap();
        assert_eq!((&profile["defaultAction"], &profile["defaultErrnoRet"]), (&"SCMP_ACT_ERRNO".into(), &1.into()));
        profile["syscalls"].as_array().unwrap().clone()
    }

    fn names(rule: &Value) -> impl Iterator<Item = &str> {
        rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap())
    }

    #[test]
    fn no_rule_lets_a_denied_call_through() {
        let denied = [
            "io_uring",
            "userfaultfd",
            "keyctl",
            "add_key",
            "request_key",
            "bpf",
            "perf_event",
            "unshare",
            "setns",
            "mount",
            "umount",
            "pivot_root",
            "chroot",
            "open_tree",
            "fsopen",
            "fsconfig",
            "fspick",
            "ptrace",
            "process_vm",
            "process_madvise",
            "kcmp",
            "pidfd_getfd",
            "module",
            "kexec",
            "reboot",
            "swapo",
            "acct",
            "quotactl",
            "syslog",
            "settime",
            "adjtime",
            "sethostname",
            "setdomainname",
            "iopl",
            "ioperm",
            "_ldt",
            "handle_at",
            "fanotify",
            "mempolicy",
            "mbind",
            "move_pages",
            "migrate_pages",
            "lookup_dcookie",
        ];
        // Of timers and of the process itself.
        let meant_otherwise = ["timer_settime", "timerfd_settime"];
        for rule in rules() {
            for name in names(&rule) {
                let found = denied.iter().find(|part| name.contains(**part));
                assert!(found.is_none() || meant_otherwise.contains(&name), "{name} is allowed, {found:?} is denied");
            }
        }
    }

    #[test]
    fn what_depends_on_arguments_is_never_allowed_without_them() {
        let mut seen = BTreeSet::new();
        for rule in rules() {
            if !rule["args"].is_null() || rule["action"] != "SCMP_ACT_ALLOW" {
                continue;
            }
            for name in names(&rule) {
                assert!(seen.insert(name.to_owned()), "{name} is listed twice");
                assert!(
                    !["clone", "clone3", "personality", "socket", "socketpair", "mknod", "mknodat"].contains(&name)
                );
            }
        }
        assert!(seen.len() > 250, "{}", seen.len());
    }

    #[test]
    fn a_berth_may_unshare_its_network_and_nothing_else() {
        let profile: Value = serde_json::from_str(&BERTH_PROFILE).unwrap();
        let more: Vec<Value> =
            profile["syscalls"].as_array().unwrap().iter().filter(|rule| !rules().contains(rule)).cloned().collect();
        assert_eq!(more.len(), 1);
        assert_eq!(names(&more[0]).collect::<Vec<_>>(), ["unshare"]);
        assert_eq!(more[0]["args"], serde_json::json!([{ "index": 0, "value": 0x4000_0000, "op": "SCMP_CMP_EQ" }]));
    }

    #[test]
    fn clone3_is_missing_so_that_libraries_take_clone() {
        let clone3: Vec<Value> = rules().into_iter().filter(|rule| names(rule).any(|name| name == "clone3")).collect();
        assert_eq!(clone3.len(), 1);
        assert_eq!((&clone3[0]["action"], &clone3[0]["errnoRet"]), (&"SCMP_ACT_ERRNO".into(), &38.into()));
    }
}
