//! What the poll loop waits for: descriptors, and the next time at which something is due.

use nix::poll::{PollFd, PollFlags};

use super::Stages;
use crate::exec::{self, Service, relay};
use crate::proxy::Proxy;

/// The meaning of a descriptor in the poll set.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Stdin,
    Children,
    Pipe { running: usize, position: usize },
    Progress { running: usize },
    Probe { running: usize },
    Listener,
    Tunnel { position: usize },
    Exec(exec::Source),
    Relay(relay::Source),
}

impl Stages<'_, '_> {
    pub(super) fn poll_set(&self, now: u64) -> (Vec<Source>, Vec<PollFd<'_>>) {
        let mut sources = vec![Source::Children];
        let mut fds = vec![PollFd::new(self.reaper.fd(), PollFlags::POLLIN)];
        if !self.is_over && self.inbox.muted_until(now).is_none() {
            sources.push(Source::Stdin);
            fds.push(PollFd::new(self.inbox.fd(), PollFlags::POLLIN));
        }
        for (position, running) in self.running.iter().enumerate() {
            for (pipe, fd) in running.open_pipes(now) {
                sources.push(Source::Pipe { running: position, position: pipe });
                fds.push(PollFd::new(fd, PollFlags::POLLIN));
            }
            if let Some(fd) = running.progress.as_ref().and_then(|progress| progress.interest(now)) {
                sources.push(Source::Progress { running: position });
                fds.push(PollFd::new(fd, PollFlags::POLLIN));
            }
            if let Some((fd, flags)) = running.readiness.as_ref().and_then(|readiness| readiness.interest()) {
                sources.push(Source::Probe { running: position });
                fds.push(PollFd::new(fd, flags));
            }
        }
        if let Some(proxy) = &self.proxy {
            for (position, fd, flags) in proxy.interests() {
                sources.push(Source::Tunnel { position });
                fds.push(PollFd::new(fd, flags));
            }
            // Last, so that a new connection changes no position of the others.
            if let Some(fd) = proxy.accepting() {
                sources.push(Source::Listener);
                fds.push(PollFd::new(fd, PollFlags::POLLIN));
            }
        }
        if let Some(service) = &self.calls.service {
            for (source, fd, flags) in service.interests() {
                sources.push(Source::Exec(source));
                fds.push(PollFd::new(fd, flags));
            }
        }
        if let Some(relay) = &self.calls.relay {
            for (source, fd, flags) in relay.interests() {
                sources.push(Source::Relay(source));
                fds.push(PollFd::new(fd, flags));
            }
        }
        (sources, fds)
    }

    pub(super) fn wakes_at(&self, now: u64) -> Option<u64> {
        let corpses = self.reaper.has_more().then_some(now);
        let plan = if self.is_over {
            None
        } else {
            [Some(self.global_deadline), Some(self.look_at), self.inbox.muted_until(now)].into_iter().flatten().min()
        };
        let stages = self.running.iter().filter_map(|running| running.wakes_at(now));
        let proxy = self.proxy.as_ref().and_then(Proxy::wakes_at);
        let service = self.calls.service.as_ref().and_then(Service::wakes_at);
        let relay = self.calls.relay.as_ref().and_then(|relay| relay.wakes_at(now));
        stages.chain(corpses).chain(plan).chain(proxy).chain(service).chain(relay).min()
    }
}
