//! A connection of a client inside the cell, from its request to its end. Nothing in this module blocks.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use assize_protocol::egress::{FRAME_COST, FromCell, How, MAX_PIECE, WINDOW_DOWN, WINDOW_UP};
use nix::libc;
use nix::poll::PollFlags;
use nix::sys::socket::{setsockopt, sockopt};

use super::head::{self, MAX_HEAD, Parsed, Request};
use super::journal::Journal;
use crate::channel::Channel;
use crate::clock;

/// Time within which a connected client must send its request, in ms; afterwards the connection is closed.
const ASKING_MS: u64 = 10_000;

/// Time that a refused client has to read the reason, in ms.
const LEAVING_MS: u64 = 2_000;

/// Credit is returned in pieces of this size, in bytes, so that it takes few frames.
const CREDIT_STEP: u32 = WINDOW_DOWN / 4;

enum State {
    /// The head of the request is incomplete.
    Asking,
    /// The worker was asked for the connection and has not answered.
    Opening(Request),
    Open,
    /// The client receives the buffered bytes, and nothing after them.
    Leaving,
    Gone,
}

pub struct Connection {
    stream: TcpStream,
    state: State,
    /// Number of the connection, which the worker knows.
    id: u32,
    /// Time at which an incomplete request or an unread refusal is closed, in µs.
    until: Option<u64>,
    /// Bytes of the client that were not yet sent to the worker.
    up: Vec<u8>,
    /// Bytes that may be sent to the worker without further credit.
    window: u32,
    /// Bytes for the client that were not yet written.
    down: VecDeque<u8>,
    /// How many of those bytes, at the front, the proxy wrote itself.
    own: usize,
    /// Bytes of the worker that were written to the client and not yet credited.
    uncredited: u32,
    /// Bytes of the worker that were received and not yet credited.
    received: u32,
    client_ended: bool,
    worker_ended: bool,
}

impl Connection {
    pub fn new(stream: TcpStream, id: u32, now: u64) -> Self {
        Self {
            stream,
            state: State::Asking,
            id,
            until: Some(clock::after_ms(now, ASKING_MS)),
            up: Vec::new(),
            window: WINDOW_UP,
            down: VecDeque::new(),
            own: 0,
            uncredited: 0,
            received: 0,
            client_ended: false,
            worker_ended: false,
        }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    /// Time at which [`Connection::keep_time`] must be called, in µs.
    pub fn until(&self) -> Option<u64> {
        self.until
    }

    /// The events to poll for, if any. A client that cannot be served now is not polled, so that a client that has hung
    /// up does not keep the loop busy.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let reads = match self.state {
            State::Asking | State::Leaving => true,
            State::Open => self.window > 0 && self.up.is_empty() && !self.client_ended,
            State::Opening(_) | State::Gone => false,
        };
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, reads);
        flags.set(PollFlags::POLLOUT, !self.down.is_empty());
        (!flags.is_empty()).then(|| (self.stream.as_fd(), flags))
    }

    /// Advances the connection after poll reported an event: at most one read and one write.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn advance(
        &mut self,
        stage: u8,
        buffer: &mut [u8],
        journal: &mut Journal,
        channel: &mut Channel,
    ) -> io::Result<()> {
        if !self.down.is_empty() {
            self.write(journal, channel)?;
        }
        match self.state {
            State::Asking => self.ask(stage, buffer, journal, channel),
            State::Open if self.window > 0 && self.up.is_empty() && !self.client_ended => {
                self.read(buffer, journal, channel)
            }
            State::Leaving => {
                let gone = match self.stream.read(buffer) {
                    Ok(length) => length == 0,
                    Err(error) => !is_for_later(&error),
                };
                if gone && self.down.is_empty() {
                    self.state = State::Gone;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub fn keep_time(&mut self, now: u64) {
        if self.until.is_some_and(|until| until <= now) {
            self.state = State::Gone;
        }
    }

    fn ask(&mut self, stage: u8, buffer: &mut [u8], journal: &mut Journal, channel: &mut Channel) -> io::Result<()> {
        let room = MAX_HEAD.saturating_sub(self.up.len()).min(buffer.len());
        let Some(length) = self.take(buffer.get_mut(..room).unwrap_or_default()) else { return Ok(()) };
        if length == 0 {
            self.state = State::Gone;
            return Ok(());
        }
        self.up.extend_from_slice(buffer.get(..length).unwrap_or_default());
        match head::parse(&self.up) {
            Parsed::Unfinished => Ok(()),
            Parsed::Bad(reason) => {
                self.refuse(400, reason);
                Ok(())
            }
            Parsed::Whole(request) => {
                // Its two ends are paid for in advance: they must always get through.
                let cost = FRAME_COST * 3 + request.host.len() as u64;
                if !journal.spend(cost) {
                    self.refuse(503, "the network quota of this stage is used up");
                    return Ok(());
                }
                let at_us = clock::now_us();
                let open = FromCell::Open { id: self.id, stage, at_us, port: request.port, host: request.host.clone() };
                channel.tunnel(&open)?;
                let rest = self.up.split_off(request.length);
                self.up.clone_from(&request.forward);
                self.up.extend_from_slice(&rest);
                self.until = None;
                self.state = State::Opening(request);
                Ok(())
            }
        }
    }

    /// The worker has made the connection.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn opened(&mut self, journal: &mut Journal, channel: &mut Channel) -> io::Result<()> {
        let State::Opening(request) = &self.state else { return Ok(()) };
        if request.is_tunnel {
            self.say(b"HTTP/1.1 200 Connection established\r\n\r\n");
        }
        self.state = State::Open;
        self.send_up(journal, channel)?;
        self.write(journal, channel)
    }

    /// Handles a refusal of the worker: the client receives the reason.
    pub fn refused(&mut self, status: u16, reason: &str) {
        if matches!(self.state, State::Opening(_)) {
            self.refuse(status, reason);
        }
    }

    /// Bytes from the other end.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn receive(&mut self, bytes: &[u8], journal: &mut Journal, channel: &mut Channel) -> io::Result<()> {
        if !matches!(self.state, State::Open) || self.worker_ended {
            return Ok(());
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.received = self.received.saturating_add(length);
        if self.received > WINDOW_DOWN {
            // A worker keeps to the window; what it sent beyond must not be held for it.
            return self.reset(channel);
        }
        self.down.extend(bytes);
        self.write(journal, channel)
    }

    /// Handles credit: the host has accepted this many bytes.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn credit(&mut self, bytes: u32, journal: &mut Journal, channel: &mut Channel) -> io::Result<()> {
        self.window = self.window.saturating_add(bytes).min(WINDOW_UP);
        if matches!(self.state, State::Open) { self.send_up(journal, channel) } else { Ok(()) }
    }

    /// Handles the end of the host's side.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn ended(&mut self, how: How, journal: &mut Journal, channel: &mut Channel) -> io::Result<()> {
        match (how, &self.state) {
            (_, State::Opening(_)) => self.refuse(502, "the connection was lost"),
            (How::Eof, State::Open) => {
                self.worker_ended = true;
                return self.write(journal, channel);
            }
            (How::Reset, State::Open) => self.drop_hard(),
            _ => {}
        }
        Ok(())
    }

    /// As [`Connection::ended`], and reports the end to the worker.
    ///
    /// # Errors
    /// Stdout is gone.
    pub fn reset(&mut self, channel: &mut Channel) -> io::Result<()> {
        match self.state {
            State::Opening(_) => {
                self.refuse(502, "the connection was lost");
                channel.tunnel(&FromCell::End { id: self.id, how: How::Reset })
            }
            State::Open => {
                self.drop_hard();
                channel.tunnel(&FromCell::End { id: self.id, how: How::Reset })
            }
            State::Asking | State::Leaving | State::Gone => Ok(()),
        }
    }

    /// Resets the client's connection, so that the client does not mistake it for a regular end.
    pub fn drop_hard(&mut self) {
        let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
        let _best_effort = setsockopt(&self.stream, sockopt::Linger, &at_once);
        self.state = State::Gone;
    }

    fn say(&mut self, words: &[u8]) {
        self.down.extend(words);
        self.own = self.down.len();
    }

    fn refuse(&mut self, status: u16, reason: &str) {
        let phrase = match status {
            400 => "Bad Request",
            403 => "Forbidden",
            429 => "Too Many Requests",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            _ => "Bad Gateway",
        };
        let length = reason.len() + 1;
        self.say(
            format!(
                "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{reason}\n"
            )
            .as_bytes(),
        );
        self.up.clear();
        self.until = Some(clock::after_ms(clock::now_us(), LEAVING_MS));
        self.state = State::Leaving;
        let _hung_up = self.write_out();
    }

    fn read(&mut self, buffer: &mut [u8], journal: &mut Journal, channel: &mut Channel) -> io::Result<()> {
        let room = (self.window as usize).min(MAX_PIECE).min(buffer.len());
        let Some(length) = self.take(buffer.get_mut(..room).unwrap_or_default()) else { return Ok(()) };
        if length == 0 {
            self.client_ended = true;
            channel.tunnel(&FromCell::End { id: self.id, how: How::Eof })?;
            self.close_if_over();
            return Ok(());
        }
        self.up.extend_from_slice(buffer.get(..length).unwrap_or_default());
        self.send_up(journal, channel)
    }

    /// Reads once; returns `None` if no byte is available. A failed read counts as a reset.
    fn take(&mut self, room: &mut [u8]) -> Option<usize> {
        match self.stream.read(room) {
            Ok(length) => Some(length),
            Err(error) if is_for_later(&error) => None,
            Err(_) => Some(0),
        }
    }

    fn send_up(&mut self, journal: &mut Journal, channel: &mut Channel) -> io::Result<()> {
        while self.window > 0 && !self.up.is_empty() {
            let length = self.up.len().min(MAX_PIECE).min(self.window as usize);
            if !journal.spend(length as u64 + FRAME_COST) {
                return self.reset(channel);
            }
            let rest = self.up.split_off(length);
            let bytes = std::mem::replace(&mut self.up, rest);
            self.window -= u32::try_from(length).unwrap_or(self.window);
            channel.tunnel(&FromCell::Data { id: self.id, bytes })?;
        }
        Ok(())
    }

    /// Writes as many bytes as the client accepts and returns credit for them.
    fn write(&mut self, journal: &mut Journal, channel: &mut Channel) -> io::Result<()> {
        let before = self.down.len();
        let own = self.own;
        let has_hung_up = self.write_out();
        let written = before - self.down.len();
        let worth = u32::try_from(written.saturating_sub(own)).unwrap_or(u32::MAX);
        self.uncredited = self.uncredited.saturating_add(worth);
        if self.uncredited >= CREDIT_STEP && matches!(self.state, State::Open) && !self.worker_ended {
            if !journal.spend(FRAME_COST) {
                return self.reset(channel);
            }
            channel.tunnel(&FromCell::Credit { id: self.id, bytes: self.uncredited })?;
            self.received = self.received.saturating_sub(self.uncredited);
            self.uncredited = 0;
        }
        if has_hung_up {
            channel.tunnel(&FromCell::End { id: self.id, how: How::Reset })?;
        }
        Ok(())
    }

    /// Whether the client hung up before the end.
    fn write_out(&mut self) -> bool {
        while !self.down.is_empty() {
            let (front, _) = self.down.as_slices();
            match self.stream.write(front) {
                Ok(written) if written > 0 => {
                    self.down.drain(..written);
                    self.own = self.own.saturating_sub(written);
                }
                Err(error) if is_for_later(&error) => return false,
                _ => {
                    self.state = State::Gone;
                    return true;
                }
            }
        }
        self.close_if_over();
        false
    }

    fn close_if_over(&mut self) {
        if !self.down.is_empty() {
            return;
        }
        let ends = matches!(self.state, State::Leaving) || (self.worker_ended && matches!(self.state, State::Open));
        if ends {
            let _gone_already = self.stream.shutdown(Shutdown::Write);
        }
        if self.worker_ended && self.client_ended {
            self.state = State::Gone;
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
