//! A gate in front of a Unix socket: a service that is there, goes away in mid-sentence, and is back.

use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes on what comes to `path` while it is open. Threads, because tests block their runtime.
pub struct Gate {
    pub path: PathBuf,
    target: PathBuf,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Gate {
    /// Opens a gate at `path` to the service at `target`.
    pub fn new(path: PathBuf, target: &Path) -> Self {
        let gate = Self { path, target: target.to_owned(), streams: Arc::default() };
        gate.open();
        gate
    }

    /// The service is there.
    pub fn open(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let (target, streams) = (self.target.clone(), Arc::clone(&self.streams));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(service)) = (client, UnixStream::connect(&target)) else { return };
                let ends = [client.try_clone().unwrap(), service.try_clone().unwrap()];
                streams.lock().unwrap().extend(ends);
                pass(client.try_clone().unwrap(), service.try_clone().unwrap());
                pass(service, client);
            }
        });
    }

    /// The service is away: nobody listens, and every connection is cut.
    pub fn shut(&self) {
        std::fs::remove_file(&self.path).unwrap();
        self.cut();
    }

    /// Every connection is cut; new ones are let through.
    pub fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream) {
    thread::spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
}
