//! Listening sockets that the service manager opened before it started this process (socket activation).

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// The listening sockets that this process inherited, by the names that the service manager gave them
/// (`FileDescriptorName=` of a socket unit).
#[derive(Default)]
pub struct InheritedSockets {
    sockets: Option<ListenFd>,
    names: Vec<String>,
}

impl InheritedSockets {
    /// Returns the sockets that the environment announces (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`).
    ///
    /// This removes the first two from the environment, so it must be called before the process starts threads.
    #[must_use]
    pub fn from_environment() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let sockets = ListenFd::from_env();
        let names = names.split(':').take(sockets.len()).map(str::to_owned).collect();
        Self { sockets: Some(sockets), names }
    }

    /// Returns the socket of this name, once; `None` if there is none.
    ///
    /// # Errors
    /// If the descriptor of this name is not a listening TCP socket.
    pub fn take(&mut self, name: &str) -> io::Result<Option<TcpListener>> {
        let (Some(sockets), Some(index)) =
            (&mut self.sockets, self.names.iter().position(|candidate| candidate == name))
        else {
            return Ok(None);
        };
        let Some(listener) = sockets.take_tcp_listener(index)? else { return Ok(None) };
        if !rustix::net::sockopt::socket_acceptconn(&listener)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen"));
        }
        listener.set_nonblocking(true)?;
        Ok(Some(listener))
    }
}

impl std::fmt::Debug for InheritedSockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InheritedSockets").field("names", &self.names).finish_non_exhaustive()
    }
}
