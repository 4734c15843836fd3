//! A gate in front of a Unix socket: a service that is there, goes away in mid-sentence, hangs, and is back.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::DEADLINE;

/// Passes on what comes to `path` while it is open. Threads, because tests block their runtime.
pub struct Gate {
    pub path: PathBuf,
    target: PathBuf,
    lies: Arc<Vec<(Vec<u8>, Vec<u8>)>>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
    rules: Arc<Rules>,
}

/// What does not pass.
#[derive(Default)]
struct Rules {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Nothing passes.
    stalled: bool,
    /// The reply to the next request with these bytes in its first piece is held.
    wanted: Option<String>,
    /// Such a reply has come, and waits.
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

    /// Opens a gate that tells the service the second of each of these for the first.
    pub fn lying(path: PathBuf, target: &Path, lies: &[(&str, &str)]) -> Self {
        let bytes = |(truth, lie): &(&str, &str)| {
            assert_eq!(truth.len(), lie.len(), "{truth}: lengths of bodies stand in their heads");
            (truth.as_bytes().to_vec(), lie.as_bytes().to_vec())
        };
        let lies = Arc::new(lies.iter().map(bytes).collect());
        let gate = Self { path, target: target.to_owned(), lies, streams: Arc::default(), rules: Arc::default() };
        gate.open();
        gate
    }

    /// The service is there.
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

    /// The service is away: nobody listens, and every connection is cut.
    pub fn shut(&self) {
        std::fs::remove_file(&self.path).unwrap();
        self.cut();
    }

    /// The service hangs, or goes on: connections stay, and nothing passes.
    pub fn stall(&self, stalled: bool) {
        self.rules.change(|state| state.stalled = stalled);
    }

    /// Holds the reply to the next request with this text in its first piece.
    pub fn hold(&self, text: &str) {
        self.rules.change(|state| state.wanted = Some(text.to_owned()));
    }

    /// Waits until the service has done what that request asked, and its reply is held.
    pub fn wait_until_held(&self) {
        let state = self.rules.state.lock().unwrap();
        let (state, _) = self.rules.changed.wait_timeout_while(state, DEADLINE, |state| !state.held).unwrap();
        assert!(state.held, "nobody asked for {:?}", state.wanted);
    }

    /// Lets the reply pass.
    pub fn release(&self) {
        self.rules.change(|state| state.held = false);
    }

    /// Every connection is cut; new ones are let through.
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

/// Each piece passes when `before` returns.
fn pass(mut from: UnixStream, mut to: UnixStream, before: impl Fn(&mut [u8]) + Send + 'static) {
    thread::spawn(move || {
        // A request is written in one piece, and is shorter than this.
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
