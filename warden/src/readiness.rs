//! The readiness probe of a service: a TCP connection to the cell's own loopback and, if the plan asks for it, the
//! start of an HTTP answer.
//!
//! The service belongs to the project and may be hostile. So each attempt is bounded in time and reads seven bytes, and
//! nothing in this module blocks.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use assize_protocol::plan::Ready;
use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use crate::clock;

/// Pause after a failed attempt, in ms: the first one and the longest one. Most services start within some hundreds of
/// ms, so that 20 ms delay them little; 100 ms bound the cost of a slow service.
const FIRST_REST_MS: u64 = 20;
const LONGEST_REST_MS: u64 = 100;

/// Time limit of one attempt, in ms.
const ATTEMPT_MS: u64 = 500;

/// The first bytes of every HTTP/1 answer.
const ANSWER: &[u8; 7] = b"HTTP/1.";

enum State {
    Resting,
    Connecting(TcpStream),
    Reading { stream: TcpStream, seen: usize },
}

/// Repeated attempts to reach one service.
pub struct Readiness {
    port: u16,
    request: Option<Vec<u8>>,
    state: State,
    /// Time at which the pause or the attempt ends, in µs.
    until: u64,
    rest_ms: u64,
}

impl Readiness {
    /// The first attempt is due at once.
    pub fn new(ready: &Ready, now: u64) -> Self {
        let port = ready.port;
        let request = ready.http.as_ref().map(|path| {
            format!(
                "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: assize-warden\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            )
            .into_bytes()
        });
        Self { port, request, state: State::Resting, until: now, rest_ms: FIRST_REST_MS }
    }

    /// When [`Readiness::advance`] must be called at the latest, in µs.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// The events to poll for during an attempt.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.state {
            State::Resting => None,
            State::Connecting(stream) => Some((stream.as_fd(), PollFlags::POLLOUT)),
            State::Reading { stream, .. } => Some((stream.as_fd(), PollFlags::POLLIN)),
        }
    }

    /// Advances the attempt as far as possible; returns `true` once the service has answered. `is_polled` means that
    /// poll reported an event of the descriptor of [`Readiness::interest`].
    pub fn advance(&mut self, now: u64, is_polled: bool) -> bool {
        let is_due = now >= self.until;
        match std::mem::replace(&mut self.state, State::Resting) {
            State::Resting if is_due => self.begin(now),
            State::Resting => false,
            State::Connecting(stream) if is_polled => self.connected(stream, now),
            State::Reading { stream, seen } if is_polled => self.read(stream, seen, now),
            State::Connecting(_) | State::Reading { .. } if is_due => self.rest(now),
            under_way => {
                self.state = under_way;
                false
            }
        }
    }

    fn begin(&mut self, now: u64) -> bool {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let Ok(fd) = socket(AddressFamily::Inet, SockType::Stream, flags, None) else {
            return self.rest(now);
        };
        self.until = clock::after_ms(now, ATTEMPT_MS);
        match connect(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, self.port)) {
            Ok(()) => self.connected(TcpStream::from(fd), now),
            Err(Errno::EINPROGRESS) => {
                self.state = State::Connecting(TcpStream::from(fd));
                false
            }
            Err(_) => self.rest(now),
        }
    }

    fn connected(&mut self, mut stream: TcpStream, now: u64) -> bool {
        let (Ok(None), Ok(local), Ok(peer)) = (stream.take_error(), stream.local_addr(), stream.peer_addr()) else {
            return self.rest(now);
        };
        // On a port of the ephemeral range the kernel can connect a socket to itself.
        if local == peer {
            return self.rest(now);
        }
        let Some(request) = &self.request else { return true };
        match stream.write(request) {
            Ok(written) if written == request.len() => {
                self.state = State::Reading { stream, seen: 0 };
                false
            }
            _ => self.rest(now),
        }
    }

    fn read(&mut self, mut stream: TcpStream, seen: usize, now: u64) -> bool {
        let expected = ANSWER.get(seen..).unwrap_or_default();
        let mut bytes = [0; ANSWER.len()];
        let room = bytes.get_mut(..expected.len()).unwrap_or_default();
        match stream.read(room) {
            Ok(length) if length > 0 && bytes.get(..length) == expected.get(..length) => {
                let seen = seen + length;
                if seen == ANSWER.len() {
                    return true;
                }
                self.state = State::Reading { stream, seen };
                false
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                self.state = State::Reading { stream, seen };
                false
            }
            _ => self.rest(now),
        }
    }

    fn rest(&mut self, now: u64) -> bool {
        self.state = State::Resting;
        self.until = clock::after_ms(now, self.rest_ms);
        self.rest_ms = (self.rest_ms + self.rest_ms / 4).min(LONGEST_REST_MS);
        false
    }
}
