//! The proxy of a stage: HTTP CONNECT, and plain HTTP by whole address, on the loopback of the cell.
//!
//! The proxy exists as long as its stage. It has no rules of its own: it forwards every request to the worker, which
//! decides (see [`assize_protocol::egress`]). The proxy only bounds what a project can make it buffer or write: connections
//! at one time, bytes and time of a request, bytes of a connection in flight, and bytes in the journal.

mod connection;
mod head;
mod journal;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};

use assize_protocol::egress::{MAX_OPEN, ToCell};
use assize_protocol::plan::Egress;
use nix::poll::PollFlags;

use crate::channel::Channel;
use connection::Connection;
use journal::Journal;

/// Connections that are taken in one turn.
const MAX_ACCEPTS: usize = 16;

/// Ids of one stage; the stage's number stands above them, so that every id of a cell is unique.
const IDS: u32 = 1 << 24;

pub struct Proxy {
    stage: u8,
    listener: TcpListener,
    journal: Journal,
    connections: Vec<Connection>,
    asked: u32,
}

impl Proxy {
    /// # Errors
    /// Why it cannot listen, in words for the stage that wants it.
    pub fn listen(stage: u8, egress: Egress) -> Result<Self, String> {
        let port = egress.port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| format!("its proxy cannot listen on port {port}, which must be free: {error}"))?;
        Ok(Self { stage, listener, journal: Journal::new(egress.journal_bytes), connections: Vec::new(), asked: 0 })
    }

    pub fn stage(&self) -> u8 {
        self.stage
    }

    /// What to poll for a new connection; nothing while there are as many as may be.
    pub fn accepting(&self) -> Option<BorrowedFd<'_>> {
        (self.connections.len() < MAX_OPEN && self.asked < IDS).then(|| self.listener.as_fd())
    }

    /// What to poll for the others, by position.
    pub fn interests(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>, PollFlags)> {
        let interests = self.connections.iter().map(Connection::interest).enumerate();
        interests.filter_map(|(position, interest)| interest.map(|(fd, flags)| (position, fd, flags)))
    }

    pub fn wakes_at(&self) -> Option<u64> {
        self.connections.iter().filter_map(Connection::until).min()
    }

    pub fn accept(&mut self, now: u64) {
        for _ in 0..MAX_ACCEPTS {
            if self.accepting().is_none() {
                return;
            }
            // One that hung up in the backlog counts as nothing.
            let Ok((stream, _)) = self.listener.accept() else { return };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let _best_effort = stream.set_nodelay(true);
            let id = u32::from(self.stage) * IDS + self.asked;
            self.asked += 1;
            self.connections.push(Connection::new(stream, id, now));
        }
    }

    /// # Errors
    /// Stdout is gone.
    pub fn advance(&mut self, position: usize, buffer: &mut [u8], channel: &mut Channel) -> io::Result<()> {
        match self.connections.get_mut(position) {
            Some(connection) => connection.advance(self.stage, buffer, &mut self.journal, channel),
            None => Ok(()),
        }
    }

    /// Handles a message of the worker. A message for a connection that is gone came too late and is dropped.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn handle_message(&mut self, message: ToCell, channel: &mut Channel) -> io::Result<()> {
        let Self { connections, journal, .. } = self;
        match message {
            ToCell::Opened { id } => {
                connection_with_id(connections, id).map_or(Ok(()), |it| it.opened(journal, channel))?
            }
            ToCell::Refused { id, status, reason } => {
                if let Some(connection) = connection_with_id(connections, id) {
                    connection.refused(status, &reason);
                }
            }
            ToCell::Data { id, bytes } => {
                connection_with_id(connections, id).map_or(Ok(()), |it| it.receive(&bytes, journal, channel))?
            }
            ToCell::Credit { id, bytes } => {
                connection_with_id(connections, id).map_or(Ok(()), |it| it.credit(bytes, journal, channel))?
            }
            ToCell::End { id, how } => {
                connection_with_id(connections, id).map_or(Ok(()), |it| it.ended(how, journal, channel))?
            }
            ToCell::Reset => {
                for connection in connections.iter_mut() {
                    connection.reset(channel)?;
                }
            }
        }
        self.forget_gone();
        Ok(())
    }

    pub fn keep_time(&mut self, now: u64) {
        for connection in &mut self.connections {
            connection.keep_time(now);
        }
        self.forget_gone();
    }

    fn forget_gone(&mut self) {
        self.connections.retain(|connection| !connection.is_gone());
    }
}

fn connection_with_id(connections: &mut [Connection], id: u32) -> Option<&mut Connection> {
    connections.iter_mut().find(|connection| connection.id() == id)
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for connection in &mut self.connections {
            connection.drop_hard();
        }
    }
}
