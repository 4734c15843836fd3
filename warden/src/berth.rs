//! A berth holds an empty network namespace for the cells of one run, and renews it between two runs.
//!
//! # Theory of operation
//!
//! The engine puts a cell into the network namespace in which the berth's PID 1 is at that time. So a berth renews
//! itself by moving its own process into a new namespace. Everything that a run left behind (sockets in TIME_WAIT,
//! ports, counters, route caches) stays in the old namespace, which the kernel frees when its last process has ended.
//!
//! Protocol: each byte on stdin asks for one renewal, and one line on stdout answers it:
//! `renewed <inode>` with the inode of the new namespace, or `failed <reason>`. The worker asks only while no
//! cell is in the berth. An end of file on stdin is not the end: the cells of a run that another worker took
//! over still need the namespace. SIGTERM and SIGINT end the berth.
//!
//! What must hold: this process has `CAP_SYS_ADMIN` and `CAP_NET_ADMIN`, so it reads nothing that a project wrote,
//! opens no file but its own namespace's, and keeps only the system calls that a renewal takes ([`seal`]).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use nix::sys::stat::stat;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Requests that one read of stdin may return; a worker sends one request and waits for its answer.
const MAX_REQUESTS: usize = 16;

/// The loopback is the first interface of every namespace.
const LOOPBACK: u32 = 1;

/// Serves renewals until SIGTERM or SIGINT.
///
/// The kernel drops a signal to a PID 1 without a handler, but queues a blocked signal. So blocking the two signals and
/// reading them ends a berth at once.
pub fn berth() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warden berth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), String> {
    let failed_to = |what: &str, errno: Errno| format!("cannot {what}: {errno}");
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    ends.thread_block().map_err(|errno| failed_to("block SIGTERM", errno))?;
    let signals =
        SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC).map_err(|errno| failed_to("wait for SIGTERM", errno))?;
    seal()?;

    let (stdin, mut stdout) = (io::stdin(), io::stdout());
    let mut is_open = true;
    loop {
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if is_open {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed_to("poll", errno)),
        }
        let mut is_ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        if is_ready.next() == Some(true) {
            return Ok(());
        }
        if is_ready.next() != Some(true) {
            continue;
        }
        let mut requests = [0; MAX_REQUESTS];
        let count = match nix::unistd::read(&stdin, &mut requests) {
            Ok(count) => count,
            Err(Errno::EINTR | Errno::EAGAIN) => continue,
            Err(_) => 0,
        };
        is_open = count > 0;
        for _ in 0..count {
            let answer = match renew() {
                Ok(inode) => format!("renewed {inode}\n"),
                Err(reason) => format!("failed {reason}\n"),
            };
            // A worker that is gone asks for nothing more; the berth stays for the cells that are in it.
            is_open &= stdout.write_all(answer.as_bytes()).and_then(|()| stdout.flush()).is_ok();
        }
    }
}

/// Moves this process into a new network namespace whose loopback is up, and returns that namespace's inode.
fn renew() -> Result<u64, String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("unshare: {errno}"))?;
    raise_loopback().map_err(|errno| format!("bring lo up: {errno}"))?;
    let namespace = stat("/proc/self/ns/net").map_err(|errno| format!("read /proc/self/ns/net: {errno}"))?;
    Ok(namespace.st_ino)
}

/// Asks the kernel over netlink to set the flag IFF_UP of the loopback.
fn raise_loopback() -> Result<(), Errno> {
    // The socket belongs to the namespace that it was made in, so each renewal needs its own.
    let route = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    sendto(route.as_raw_fd(), &link_up(), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 64];
    let length = recv(route.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    acknowledged(answer.get(..length).unwrap_or_default())
}

/// `RTM_NEWLINK` for the loopback: a `nlmsghdr` of 16 bytes, then an `ifinfomsg` of 16.
fn link_up() -> Vec<u8> {
    const LENGTH: u32 = 32;
    let flags = libc::IFF_UP.cast_unsigned();
    let request = (libc::NLM_F_REQUEST | libc::NLM_F_ACK).cast_unsigned().to_ne_bytes();
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(&LENGTH.to_ne_bytes());
    message.extend_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
    // Both flags lie in the lower half, which is all that the header has room for.
    message.extend_from_slice(if cfg!(target_endian = "little") { &request[..2] } else { &request[2..] });
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&LOOPBACK.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message
}

/// Reads an `NLMSG_ERROR`; its number is 0 on success.
fn acknowledged(answer: &[u8]) -> Result<(), Errno> {
    let number = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match number {
        Some(0) => Ok(()),
        Some(negative) => Err(Errno::from_raw(negative.saturating_neg())),
        None => Err(Errno::EBADMSG),
    }
}

/// Installs a filter that permits only the system calls of a renewal, its answer and the exit.
///
/// # Errors
/// The filter could not be installed; then the berth does not serve.
fn seal() -> Result<(), String> {
    let program = program().map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let is = |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let new_namespace = u64::from(libc::CLONE_NEWNET.cast_unsigned());
    rules.insert(libc::SYS_unshare, vec![SeccompRule::new(vec![is(0, new_namespace)?])?]);
    let netlink = u64::from(libc::AF_NETLINK.cast_unsigned());
    let route = u64::from(libc::NETLINK_ROUTE.cast_unsigned());
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(vec![is(0, netlink)?, is(2, route)?])?]);
    let denied = SeccompAction::Errno(Errno::EPERM as u32);
    SeccompFilter::new(rules, denied, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// The permitted calls with any arguments: reading, writing, waiting, memory, exit.
const CALLS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_close,
    // The standard library checks a descriptor before it closes it, in debug builds.
    libc::SYS_fcntl,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_allows_few_calls() {
        let length = program().unwrap().len();
        assert!((20..300).contains(&length), "{length} instructions");
        for denied in [libc::SYS_mount, libc::SYS_setns, libc::SYS_clone, libc::SYS_execve, libc::SYS_openat] {
            assert!(!CALLS.contains(&denied), "{denied}");
        }
    }

    #[test]
    fn a_request_is_as_long_as_it_says_and_an_answer_is_read_strictly() {
        assert_eq!(link_up().len(), 32);
        let mut answer = vec![0; 36];
        assert_eq!(acknowledged(&answer), Ok(()));
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(acknowledged(&answer), Err(Errno::EPERM));
        assert_eq!(acknowledged(&answer[..18]), Err(Errno::EBADMSG));
    }
}
