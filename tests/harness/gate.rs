//! A gate in front of a Unix socket, which lets a test cut, stall and restore the connections to a service.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::DEADLINE;

/// Forwards the connections at `path` to the service while the gate is open. It uses threads, because tests block their
/// runtime.
pub struct Gate {
    pub path: PathBuf,
    target: PathBuf,
    lies: Arc<Vec<(Vec<u8>, Vec<u8>)>>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
    rules: Arc<Rules>,
}

/// What the gate holds back.
#[derive(Default)]
struct Rules {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The gate forwards nothing.
    stalled: bool,
    /// The gate holds the reply to the next request whose first chunk contains this text.
    wanted: Option<String>,
    /// Such a reply has arrived and waits.
    held: bool,
}

impl Rules {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait_while(&self, holds: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.state.lock().unwrap(), holds).unwrap()
    }
}

impl Gate {
    /// Opens a gate at `path` to the service at `target`.
    pub fn new(path: PathBuf, target: &Path) -> Self {
        Self::lying(path, target, &[])
    }

    /// Opens a gate that replaces the first text of each pair by the second in all requests.
    pub fn lying(path: PathBuf, target: &Path, lies: &[(&str, &str)]) -> Self {
        let bytes = |(truth, lie): &(&str, &str)| {
            assert_eq!(
                truth.len(),
                lie.len(),
                "{truth}: the length must not change, because it is in the head of the request"
            );
            (truth.as_bytes().to_vec(), lie.as_bytes().to_vec())
        };
        let lies = Arc::new(lies.iter().map(bytes).collect());
        let gate = Self { path, target: target.to_owned(), lies, streams: Arc::default(), rules: Arc::default() };
        gate.open();
        gate
    }

    /// Makes the service available.
    pub fn open(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let (target, streams, rules) = (self.target.clone(), Arc::clone(&self.streams), Arc::clone(&self.rules));
        let lies = Arc::clone(&self.lies);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(service)) = (client, UnixStream::connect(&target)) else { return };
                let ends = [client.try_clone().unwrap(), service.try_clone().unwrap()];
                streams.lock().unwrap().extend(ends);
                let (asking, answering, asked) = (Arc::clone(&rules), Arc::clone(&rules), Arc::<AtomicBool>::default());
                let (is_wanted, lies) = (Arc::clone(&asked), Arc::clone(&lies));
                pass(client.try_clone().unwrap(), service.try_clone().unwrap(), move |piece| {
                    let mut state = asking.wait_while(|state| state.stalled);
                    if state.wanted.take_if(|wanted| holds(piece, wanted)).is_some() {
                        asked.store(true, Ordering::SeqCst);
                    }
                    lie(piece, &lies);
                });
                pass(service, client, move |_| {
                    if is_wanted.swap(false, Ordering::SeqCst) {
                        answering.change(|state| state.held = true);
                        drop(answering.wait_while(|state| state.held));
                    }
                    drop(answering.wait_while(|state| state.stalled));
                });
            }
        });
    }

    /// Makes the service unavailable: nothing listens, and every connection is cut.
    pub fn shut(&self) {
        std::fs::remove_file(&self.path).unwrap();
        self.cut();
    }

    /// Stalls the service or ends the stall. During a stall connections stay open, and nothing is forwarded.
    pub fn stall(&self, stalled: bool) {
        self.rules.change(|state| state.stalled = stalled);
    }

    /// Holds the reply to the next request whose first chunk contains this text.
    pub fn hold(&self, text: &str) {
        self.rules.change(|state| state.wanted = Some(text.to_owned()));
    }

    /// Waits until the service has handled that request and the gate holds its reply.
    pub fn wait_until_held(&self) {
        let state = self.rules.state.lock().unwrap();
        let (state, _) = self.rules.changed.wait_timeout_while(state, DEADLINE, |state| !state.held).unwrap();
        assert!(state.held, "no request contained {:?}", state.wanted);
    }

    /// Forwards the held reply.
    pub fn release(&self) {
        self.rules.change(|state| state.held = false);
    }

    /// Cuts every connection; new connections are forwarded.
    pub fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn holds(piece: &[u8], text: &str) -> bool {
    piece.windows(text.len()).any(|part| part == text.as_bytes())
}

fn lie(piece: &mut [u8], lies: &[(Vec<u8>, Vec<u8>)]) {
    for (truth, lie) in lies {
        for at in 0..piece.len().saturating_sub(truth.len() - 1) {
            if piece[at..].starts_with(truth) {
                piece[at..at + lie.len()].copy_from_slice(lie);
            }
        }
    }
}

/// Forwards each chunk when `before` returns.
fn pass(mut from: UnixStream, mut to: UnixStream, before: impl Fn(&mut [u8]) + Send + 'static) {
    thread::spawn(move || {
        // A request is written at once, and is shorter than this.
        let mut bytes = vec![0; 1 << 20];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            before(&mut bytes[..count]);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Write).ok();
    });
}
