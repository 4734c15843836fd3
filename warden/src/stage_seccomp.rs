//! The seccomp filter of a stage's process: system calls that would affect PID 1.
//!
//! The warden is not dumpable, so code of the same uid cannot read, trace or stop it. But a few system calls check only
//! that the uid is the same: those that change the resource limits of another process or its place in the scheduler. With
//! them a project could end its warden from outside (after a limit of CPU time the kernel's own SIGKILL reaches PID 1), so
//! that the run looks like a fault of the infrastructure, or schedule the warden behind busy loops, so that deadlines come
//! late. This filter denies those calls in addition to the engine's profile. The warden itself runs without the filter.
//!
//! The filter compares only the lower half of an argument, as the kernel does for an `int`. A program of another
//! architecture (32-bit programs on x86-64) is killed, because it reaches the same calls by other numbers.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Process id of the warden inside its cell.
const WARDEN: u64 = 1;

/// `which` of setpriority(2): a process, a group, a user.
const PRIORITY_OF: [u64; 3] = [0, 1, 2];
/// `which` of ioprio_set(2), likewise.
const IO_PRIORITY_OF: [u64; 3] = [1, 2, 3];

/// The bit that marks the numbers of x32 calls, which a filter sees as the same architecture.
#[cfg(target_arch = "x86_64")]
const OTHER_NUMBERS: Option<i64> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const OTHER_NUMBERS: Option<i64> = None;

/// Installs the filter for this process and every program that it executes or starts. `denies_ipc` adds the calls that
/// make shared memory, semaphores and queues of System V, which live on when their processes are dead.
///
/// # Errors
/// The filter could not be installed; then no stage may run.
pub fn install(denies_ipc: bool) -> Result<(), String> {
    let program = program(denies_ipc).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

fn program(denies_ipc: bool) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut deny = |call: i64, conditions: Vec<SeccompCondition>| -> Result<(), seccompiler::BackendError> {
        for number in std::iter::once(call).chain(OTHER_NUMBERS.map(|bit| call | bit)) {
            rules.entry(number).or_default().push(SeccompRule::new(conditions.clone())?);
        }
        Ok(())
    };
    for call in [nr::PRLIMIT64, nr::SCHED_SETAFFINITY, nr::SCHED_SETSCHEDULER, nr::SCHED_SETPARAM, nr::SCHED_SETATTR] {
        deny(call, vec![is(0, WARDEN)?])?;
    }
    for (call, [process, group, user]) in [(nr::SETPRIORITY, PRIORITY_OF), (nr::IOPRIO_SET, IO_PRIORITY_OF)] {
        deny(call, vec![is(0, process)?, is(1, WARDEN)?])?;
        deny(call, vec![is(0, group)?, is(1, WARDEN)?])?;
        // The call changes every process of a user, and the warden is one of them.
        deny(call, vec![is(0, user)?])?;
    }
    if denies_ipc {
        for call in [nr::SHMGET, nr::SEMGET, nr::MSGGET] {
            for number in std::iter::once(call).chain(OTHER_NUMBERS.map(|bit| call | bit)) {
                rules.insert(number, Vec::new());
            }
        }
    }
    let architecture = std::env::consts::ARCH.try_into()?;
    let denied = SeccompAction::Errno(nix::errno::Errno::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture)?.try_into()
}

fn is(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

/// System call numbers of x86-64.
#[cfg(target_arch = "x86_64")]
mod nr {
    pub const SHMGET: i64 = 29;
    pub const SEMGET: i64 = 64;
    pub const MSGGET: i64 = 68;
    pub const SETPRIORITY: i64 = 141;
    pub const SCHED_SETPARAM: i64 = 142;
    pub const SCHED_SETSCHEDULER: i64 = 144;
    pub const SCHED_SETAFFINITY: i64 = 203;
    pub const IOPRIO_SET: i64 = 251;
    pub const PRLIMIT64: i64 = 302;
    pub const SCHED_SETATTR: i64 = 314;
}

/// System call numbers of aarch64 and riscv64, which share one table.
#[cfg(not(target_arch = "x86_64"))]
mod nr {
    pub const MSGGET: i64 = 186;
    pub const SEMGET: i64 = 190;
    pub const SHMGET: i64 = 194;
    pub const SETPRIORITY: i64 = 140;
    pub const SCHED_SETPARAM: i64 = 118;
    pub const SCHED_SETSCHEDULER: i64 = 119;
    pub const SCHED_SETAFFINITY: i64 = 122;
    pub const IOPRIO_SET: i64 = 30;
    pub const PRLIMIT64: i64 = 261;
    pub const SCHED_SETATTR: i64 = 274;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_compiles_and_is_small() {
        for denies_ipc in [false, true] {
            let length = program(denies_ipc).unwrap().len();
            assert!((20..400).contains(&length), "{length} instructions");
        }
    }
}
