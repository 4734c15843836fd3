//! A gate in front of a Unix socket: a service that is there, goes away in mid-sentence, and is back.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes on what comes to `path` while it is open. Threads, because tests block their runtime.
pub struct Gate {
    pub path: PathBuf,
    target: PathBuf,
    lies: Arc<Vec<(Vec<u8>, Vec<u8>)>>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
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
        let gate = Self { path, target: target.to_owned(), lies, streams: Arc::default() };
        gate.open();
        gate
    }

    /// The service is there.
    pub fn open(&self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let (target, lies, streams) = (self.target.clone(), Arc::clone(&self.lies), Arc::clone(&self.streams));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(service)) = (client, UnixStream::connect(&target)) else { return };
                let ends = [client.try_clone().unwrap(), service.try_clone().unwrap()];
                streams.lock().unwrap().extend(ends);
                pass(client.try_clone().unwrap(), service.try_clone().unwrap(), Arc::clone(&lies));
                pass(service, client, Arc::default());
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

fn pass(mut from: UnixStream, mut to: UnixStream, lies: Arc<Vec<(Vec<u8>, Vec<u8>)>>) {
    thread::spawn(move || {
        // A request is written in one piece, and is shorter than this.
        let mut piece = vec![0; 1 << 20];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let said = &mut piece[..length];
            for (truth, lie) in lies.iter() {
                for at in 0..length.saturating_sub(truth.len() - 1) {
                    if said[at..].starts_with(truth) {
                        said[at..at + lie.len()].copy_from_slice(lie);
                    }
                }
            }
            if to.write_all(said).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Write).ok();
    });
}
