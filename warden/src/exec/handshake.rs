//! How two wardens prove to each other that they know the secret of their run.
//!
//! ```text
//!  driver's warden                         subject's warden
//!    nonce D                    ──►
//!                               ◄──        nonce S, HMAC(secret, "subject" D S)
//!    HMAC(secret, "driver" D S) ──►
//! ```
//!
//! The nonces are new for each connection, so that nothing can be replayed. The two proofs differ by their labels, so that
//! none can be reflected. Behind the handshake the connection needs no codes of its own: a cell has no raw socket, so
//! nothing but its two ends can write into a connection of the loopback.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use assize_protocol::exec::{SECRET_BYTES, Secret};
use hmac::{Hmac, KeyInit, Mac};
use nix::poll::{PollFd, PollFlags, poll};
use sha2::Sha256;

use crate::{clock, inbox};

/// How long the handshake of one connection may take, in ms. Both ends are wardens that have nothing else to do.
const HANDSHAKE_MS: u64 = 2_000;

/// How long the driver's warden tries to get through, in ms: connections that a stage had left may fill the backlog.
const CONNECT_MS: u64 = 10_000;

type Nonce = [u8; SECRET_BYTES];

const SUBJECT: &[u8] = b"assize exec 1: subject";
const DRIVER: &[u8] = b"assize exec 1: driver";

/// Bytes that nobody can guess.
///
/// # Errors
/// The kernel's source of randomness cannot be read.
pub fn random() -> io::Result<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn keyed(secret: &Secret, label: &[u8], driver: &Nonce, subject: &Nonce) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of every length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).ok()?;
    mac.update(label);
    mac.update(driver);
    mac.update(subject);
    Some(mac)
}

fn prove(secret: &Secret, label: &[u8], driver: &Nonce, subject: &Nonce) -> Option<Vec<u8>> {
    Some(keyed(secret, label, driver, subject)?.finalize().into_bytes().to_vec())
}

/// Compares in constant time.
fn is_proof(proof: &[u8], secret: &Secret, label: &[u8], driver: &Nonce, subject: &Nonce) -> bool {
    keyed(secret, label, driver, subject).is_some_and(|mac| mac.verify_slice(proof).is_ok())
}

/// A connection to the subject's warden whose other end has proven nothing yet.
pub struct Guest {
    stream: TcpStream,
    until: u64,
    received: Vec<u8>,
    /// The nonces, once the guest has sent its own.
    nonces: Option<(Nonce, Nonce)>,
}

/// What became of a guest.
pub enum Admission {
    Waiting(Guest),
    Admitted(TcpStream),
    Refused,
}

impl Guest {
    /// The stream must be non-blocking.
    pub fn new(stream: TcpStream, now: u64) -> Self {
        let until = clock::after_ms(now, HANDSHAKE_MS);
        Self { stream, until, received: Vec::with_capacity(SECRET_BYTES), nonces: None }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub fn until(&self) -> u64 {
        self.until
    }

    /// Reads once, never more than the handshake has.
    pub fn advance(mut self, secret: &Secret) -> Admission {
        let mut bytes = [0; SECRET_BYTES];
        let room = SECRET_BYTES - self.received.len().min(SECRET_BYTES);
        match self.stream.read(bytes.get_mut(..room).unwrap_or_default()) {
            Ok(0) => return Admission::Refused,
            Ok(length) => self.received.extend_from_slice(bytes.get(..length).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(_) => return Admission::Refused,
        }
        let Ok(received) = Nonce::try_from(self.received.as_slice()) else { return Admission::Waiting(self) };
        self.received.clear();
        match self.nonces {
            None => match self.answer(secret, received) {
                Some(()) => Admission::Waiting(self),
                None => Admission::Refused,
            },
            Some((driver, subject)) if is_proof(&received, secret, DRIVER, &driver, &subject) => {
                Admission::Admitted(self.stream)
            }
            Some(_) => Admission::Refused,
        }
    }

    /// The buffer of a new connection has room for the answer.
    fn answer(&mut self, secret: &Secret, driver: Nonce) -> Option<()> {
        let subject = random().ok()?;
        let mut answer = subject.to_vec();
        answer.extend(prove(secret, SUBJECT, &driver, &subject)?);
        self.nonces = Some((driver, subject));
        self.stream.write_all(&answer).ok()
    }
}

/// Why a connection was not made.
enum Fault {
    /// Another try may succeed.
    Passing(String),
    Final(String),
}

/// Connects to the subject's warden, with a time limit. The result is non-blocking.
///
/// # Errors
/// What went wrong, in words.
pub fn connect(port: u16, secret: &Secret) -> Result<TcpStream, String> {
    let until = clock::after_ms(clock::now_us(), CONNECT_MS);
    loop {
        match try_connect(port, secret) {
            Ok(stream) => return Ok(stream),
            Err(Fault::Passing(_)) if clock::now_us() < until => {}
            Err(Fault::Passing(error) | Fault::Final(error)) => return Err(error),
        }
    }
}

fn try_connect(port: u16, secret: &Secret) -> Result<TcpStream, Fault> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(HANDSHAKE_MS)).map_err(|error| {
        let reason = format!("the subject's warden cannot be reached on port {port}: {error}");
        if error.kind() == ErrorKind::TimedOut { Fault::Passing(reason) } else { Fault::Final(reason) }
    })?;
    let cut =
        |error: io::Error| Fault::Passing(format!("the subject's warden did not complete the handshake: {error}"));
    stream.set_nonblocking(true).map_err(cut)?;
    stream.set_nodelay(true).map_err(cut)?;
    let until = clock::after_ms(clock::now_us(), HANDSHAKE_MS);
    let driver = random().map_err(cut)?;
    stream.write_all(&driver).map_err(cut)?;
    let mut answer = [0; 2 * SECRET_BYTES];
    receive(&mut stream, &mut answer, until).map_err(cut)?;
    let (subject, proof) = answer.split_at(SECRET_BYTES);
    let proven = Nonce::try_from(subject).ok().filter(|subject| is_proof(proof, secret, SUBJECT, &driver, subject));
    let proof = proven
        .and_then(|subject| prove(secret, DRIVER, &driver, &subject))
        .ok_or_else(|| Fault::Final(format!("whoever listens on port {port} does not know the secret of this run")))?;
    stream.write_all(&proof).map_err(cut)?;
    Ok(stream)
}

/// Fills the buffer until the deadline.
fn receive(stream: &mut TcpStream, buffer: &mut [u8], until: u64) -> io::Result<()> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let now = clock::now_us();
                if now >= until {
                    return Err(ErrorKind::TimedOut.into());
                }
                let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
                let _woken_or_not = poll(&mut fds, inbox::timeout(now, Some(until)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A guest that sends `first`, then what `second` makes of the answer.
    fn admitted(secret: &Secret, first: Nonce, second: impl FnOnce(Nonce, Vec<u8>) -> Vec<u8>) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        client.write_all(&first).unwrap();
        // Blocking here, so that each step has what it reads.
        let Admission::Waiting(guest) = Guest::new(stream, 0).advance(secret) else { panic!("no answer") };
        let mut answer = [0; 2 * SECRET_BYTES];
        client.read_exact(&mut answer).unwrap();
        let subject = answer[..SECRET_BYTES].try_into().unwrap();
        client.write_all(&second(subject, answer[SECRET_BYTES..].to_vec())).unwrap();
        matches!(guest.advance(secret), Admission::Admitted(_))
    }

    #[test]
    fn only_who_knows_the_secret_is_admitted() {
        let (secret, other) = (Secret::new([7; SECRET_BYTES]), Secret::new([8; SECRET_BYTES]));
        let mine = [1; SECRET_BYTES];
        let mut seen = Vec::new();
        assert!(admitted(&secret, mine, |subject, _| {
            seen = prove(&secret, DRIVER, &mine, &subject).unwrap();
            seen.clone()
        }));
        assert!(!admitted(&secret, mine, |subject, _| prove(&other, DRIVER, &mine, &subject).unwrap()));
        assert!(!admitted(&secret, mine, |_, _| seen.clone()), "replayed");
        assert!(!admitted(&secret, mine, |_, proof| proof), "reflected");
        assert!(!admitted(&secret, mine, |_, _| vec![0; SECRET_BYTES]), "guessed");
        assert!(!admitted(&secret, mine, |subject, _| prove(&secret, SUBJECT, &mine, &subject).unwrap()), "other role");
    }

    #[test]
    fn who_listens_must_prove_itself_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let impostor = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut nonce = [0; SECRET_BYTES];
            stream.read_exact(&mut nonce).unwrap();
            stream.write_all(&[0; 2 * SECRET_BYTES]).unwrap();
            let mut rest = Vec::new();
            let _reset_or_not = stream.read_to_end(&mut rest);
            rest
        });
        let error = connect(port, &Secret::new([7; SECRET_BYTES])).unwrap_err();
        assert!(error.contains("does not know the secret"), "{error}");
        assert!(impostor.join().unwrap().is_empty(), "it learns no proof");
    }
}
