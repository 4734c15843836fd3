//! The sockets that the API and the worker listen on.

use std::io::ErrorKind;

use assize_client::outcome::Fault;
use assize_host::inherited_sockets::InheritedSockets;
use tokio::net::TcpListener;

/// The name of the inherited socket of the API.
pub const HTTP: &str = "http";

/// The name of the inherited socket for metrics.
pub const METRICS: &str = "metrics";

/// Returns the inherited socket `name`, or else a socket that listens on `address`, the value of `setting`.
///
/// # Errors
/// [`Fault::Usage`] if the address cannot be used: another process listens on it, the host does not have it, or this
/// user may not listen on it. A restart would not change that.
pub async fn open(
    sockets: &mut InheritedSockets,
    name: &str,
    address: &str,
    setting: &str,
) -> Result<TcpListener, Fault> {
    let inherited = sockets.take(name).and_then(|socket| socket.map(TcpListener::from_std).transpose());
    let inherited = inherited.map_err(|error| {
        Fault::usage(format!(
            "the inherited socket {name} cannot be used: {error}; its socket unit needs ListenStream= with a TCP port"
        ))
    })?;
    if let Some(listener) = inherited {
        return Ok(listener);
    }
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::AddrInUse => "another process listens there (`ss -ltnp` names it); stop it, or set",
            ErrorKind::PermissionDenied => "this user may not listen there; use a port from 1024 on, or set",
            ErrorKind::AddrNotAvailable => "this host does not have the address; set",
            _ => "set",
        };
        Fault::usage(format!("cannot listen on {address}: {error}; {advice} {setting}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_its_setting() {
        let mut none = InheritedSockets::default();
        let taken = open(&mut none, HTTP, "127.0.0.1:0", "api_listen").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let fault = open(&mut none, HTTP, &address, "api_listen").await.unwrap_err();
        assert!(matches!(fault, Fault::Usage(_)));
        let text = fault.to_string();
        assert!(text.starts_with(&format!("cannot listen on {address}: ")), "{text}");
        assert!(text.ends_with("`ss -ltnp` names it); stop it, or set api_listen"), "{text}");
        let nonsense = open(&mut none, METRICS, "nowhere", "api_metrics_listen").await.unwrap_err().to_string();
        assert!(nonsense.ends_with("; set api_metrics_listen"), "{nonsense}");
    }
}
