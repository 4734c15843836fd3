//! The confinement of a cell, which does not depend on its limits.

use std::fs::{self, File};
use std::io::ErrorKind;

use assize_protocol::isolation::IsolationCheck;
use nix::unistd::{getgroups, getresgid, getresuid};

use super::CELL_UID;

/// Seccomp mode 2 is a filter, as Docker installs it.
const SECCOMP_FILTER: &str = "2";

pub const CHECKS: &[fn() -> IsolationCheck] = &[network, rootfs, uid, capabilities, no_new_privileges, seccomp];

fn network() -> IsolationCheck {
    let limit = "only lo";
    match fs::read_to_string("/proc/net/dev") {
        Ok(listed) => {
            let names: Vec<&str> =
                listed.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
            IsolationCheck::new("network", names == ["lo"], format!("interfaces: {}", names.join(" ")), limit)
        }
        Err(error) => IsolationCheck::new("network", false, format!("/proc/net/dev cannot be read: {error}"), limit),
    }
}

fn rootfs() -> IsolationCheck {
    let mut seen = Vec::new();
    let mut ok = true;
    for path in ["/assize-probe", "/etc/assize-probe"] {
        match File::create_new(path) {
            Ok(_) => {
                ok = false;
                let _only_a_probe = fs::remove_file(path);
                seen.push(format!("{path} was created"));
            }
            Err(error) => {
                // A missing folder cannot be written to either.
                ok &= matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::NotFound);
                seen.push(format!("{path}: {error}"));
            }
        }
    }
    IsolationCheck::new("rootfs", ok, seen.join("; "), "read-only")
}

fn uid() -> IsolationCheck {
    let limit = format!("{CELL_UID} for real, effective and saved user and group, no other group");
    let (Ok(user), Ok(group), Ok(groups)) = (getresuid(), getresgid(), getgroups()) else {
        return IsolationCheck::new("uid", false, "the ids cannot be read", &limit);
    };
    let users = [user.real, user.effective, user.saved].map(|id| id.as_raw());
    let main = [group.real, group.effective, group.saved].map(|id| id.as_raw());
    let others: Vec<u32> = groups.iter().map(|id| id.as_raw()).filter(|id| *id != CELL_UID).collect();
    let ok = users == [CELL_UID; 3] && main == [CELL_UID; 3] && others.is_empty();
    IsolationCheck::new("uid", ok, format!("users {users:?}, groups {main:?}, others {others:?}"), &limit)
}

fn capabilities() -> IsolationCheck {
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    let values: Vec<String> = sets.iter().map(|set| status_field(set)).collect();
    let ok = values.iter().all(|value| !value.is_empty() && value.bytes().all(|digit| digit == b'0'));
    let seen: Vec<String> = sets.iter().zip(&values).map(|(set, value)| format!("{set} {value}")).collect();
    IsolationCheck::new("capabilities", ok, seen.join(", "), "none in any set")
}

fn no_new_privileges() -> IsolationCheck {
    let seen = status_field("NoNewPrivs");
    IsolationCheck::new("no_new_privs", seen == "1", format!("NoNewPrivs {seen}"), "1")
}

fn seccomp() -> IsolationCheck {
    let seen = status_field("Seccomp");
    IsolationCheck::new("seccomp", seen == SECCOMP_FILTER, format!("Seccomp {seen}"), SECCOMP_FILTER)
}

/// The processors that this process may run on.
pub fn processors(wanted: &str) -> IsolationCheck {
    let seen = status_field("Cpus_allowed_list");
    let is_any = wanted.is_empty();
    IsolationCheck::new("processors", is_any || seen == wanted, seen, if is_any { "any" } else { wanted })
}

fn status_field(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| *field == name).map_or_else(String::new, |(_, value)| value.trim().to_owned())
}
