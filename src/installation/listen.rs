//! The addresses that the processes of an installation listen on.

use std::io;
use std::net::TcpListener;

/// The addresses of the API and of the two metrics listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The setting `api_listen`.
    pub api: String,
    /// The setting `api_metrics_listen`.
    pub api_metrics: String,
    /// The setting `worker_metrics_listen`.
    pub worker_metrics: String,
}

impl Listen {
    /// Returns the loopback addresses with this port for the API, and the next two ports for the metrics.
    #[must_use]
    pub fn from_port(port: u16) -> Self {
        let address = |offset: u16| format!("127.0.0.1:{}", port.saturating_add(offset));
        Self { api: address(0), api_metrics: address(1), worker_metrics: address(2) }
    }

    /// Returns three loopback addresses whose ports were free a moment ago.
    ///
    /// # Errors
    /// The error of the operating system, if it has no port left.
    pub fn free() -> io::Result<Self> {
        // All three are bound before one is released, so that no port comes twice.
        let [api, api_metrics, worker_metrics] = [bind()?, bind()?, bind()?];
        let address = |listener: TcpListener| Ok::<_, io::Error>(listener.local_addr()?.to_string());
        Ok(Self { api: address(api)?, api_metrics: address(api_metrics)?, worker_metrics: address(worker_metrics)? })
    }
}

fn bind() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_have_the_next_two_ports() {
        let listen = Listen::from_port(7700);
        assert_eq!(listen.api, "127.0.0.1:7700");
        assert_eq!((listen.api_metrics.as_str(), listen.worker_metrics.as_str()), ("127.0.0.1:7701", "127.0.0.1:7702"));
    }

    #[test]
    fn free_addresses_differ() {
        let listen = Listen::free().unwrap();
        assert_ne!(listen.api, listen.api_metrics);
        assert_ne!(listen.api_metrics, listen.worker_metrics);
        assert_ne!(listen.api, listen.worker_metrics);
    }
}
