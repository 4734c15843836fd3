//! Canaries on the host: settings and a file that no cell may change, and listeners that no cell may reach.

use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

/// Kernel settings that an escape would change first. No cell may change them.
const SETTINGS: [&str; 7] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/vm/overcommit_memory",
];

/// Content of the canary file.
const CANARY: &str = "a cell that can read or change this has left its cell\n";

/// The watched parts of the host: kernel settings, a file, and two listeners that no cell may reach.
pub struct HostCanary {
    /// TCP port of a listener on 127.0.0.1 of the host.
    pub port: u16,
    /// Name of a Unix socket in the host's abstract namespace.
    pub socket: String,
    /// Path of the canary file.
    pub canary: PathBuf,
    before: Vec<(PathBuf, String)>,
    reached: Arc<AtomicUsize>,
    listening: Vec<JoinHandle<()>>,
}

impl HostCanary {
    /// Records the state of the host, writes the canary file into `root`, and starts the listeners.
    ///
    /// # Errors
    /// The file cannot be written, or a listener cannot be started.
    pub async fn begin(root: &Path) -> std::io::Result<Self> {
        let canary = root.join("canary");
        std::fs::write(&canary, CANARY)?;
        let settings = SETTINGS.iter().map(PathBuf::from).filter_map(|path| Some((path.clone(), read(&path)?)));
        let before = settings.chain(std::iter::once((canary.clone(), CANARY.to_owned()))).collect();
        let reached = Arc::new(AtomicUsize::new(0));

        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = tcp.local_addr()?.port();
        let socket = format!("assize-attack-{}-{port}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&socket)?;
        let unix = std::os::unix::net::UnixListener::bind_addr(&address)?;
        unix.set_nonblocking(true)?;
        let unix = UnixListener::from_std(unix)?;

        let (by_tcp, by_unix) = (Arc::clone(&reached), Arc::clone(&reached));
        let listening = vec![
            tokio::spawn(async move {
                while tcp.accept().await.is_ok() {
                    by_tcp.fetch_add(1, Ordering::Relaxed);
                }
            }),
            tokio::spawn(async move {
                while unix.accept().await.is_ok() {
                    by_unix.fetch_add(1, Ordering::Relaxed);
                }
            }),
        ];
        Ok(Self { port, socket, canary, before, reached, listening })
    }

    /// Number of connections since the last call.
    pub fn reached(&self) -> usize {
        self.reached.swap(0, Ordering::Relaxed)
    }

    /// Checks that nothing has changed and that no listener was reached.
    ///
    /// # Errors
    /// Names what has changed, or how many connections came.
    pub fn check(&self) -> Result<(), String> {
        for (path, before) in &self.before {
            let now = read(path).unwrap_or_default();
            if now != *before {
                return Err(format!("{} on the host is {:?}, it was {:?}", path.display(), now.trim(), before.trim()));
            }
        }
        match self.reached() {
            0 => Ok(()),
            count => Err(format!("{count} connections reached the host")),
        }
    }
}

impl Drop for HostCanary {
    fn drop(&mut self) {
        self.listening.iter().for_each(JoinHandle::abort);
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_and_a_connection_are_detected() {
        let root = tempfile::tempdir().unwrap();
        let host_canary = HostCanary::begin(root.path()).await.unwrap();
        assert_eq!(host_canary.check(), Ok(()));
        let mut visit = tokio::net::TcpStream::connect(("127.0.0.1", host_canary.port)).await.unwrap();
        // Until it was accepted; then the listener drops it.
        tokio::io::AsyncReadExt::read_to_end(&mut visit, &mut Vec::new()).await.unwrap();
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&host_canary.socket).unwrap();
        let mut other = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
        tokio::task::spawn_blocking(move || std::io::Read::read_to_end(&mut other, &mut Vec::new()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(host_canary.check(), Err("2 connections reached the host".to_owned()));
        std::fs::write(&host_canary.canary, "changed").unwrap();
        assert!(host_canary.check().unwrap_err().contains("canary"));
    }
}
