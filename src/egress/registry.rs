//! The address of a package registry, as the settings have it.

use super::host::{Allow, Host};

/// The host and port of `http://` or `https://` and what follows.
///
/// # Errors
/// What is wrong with the address.
pub fn registry(address: &str) -> Result<Allow, String> {
    let fault = |reason: &str| format!("{address:?} is no address of a registry: {reason}");
    let (rest, usual) = match (address.strip_prefix("https://"), address.strip_prefix("http://")) {
        (Some(rest), _) => (rest, 443),
        (None, Some(rest)) => (rest, 80),
        (None, None) => return Err(fault("it begins with neither https:// nor http://")),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if rest.contains(['?', '#', ' ']) || authority.contains('@') {
        return Err(fault("it is more than a host, a port and a path"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, digits)) if !digits.contains(']') => (host, digits.parse().map_err(|_| fault("its port is none"))?),
        _ => (authority, usual),
    };
    Host::parse(host).map_err(fault)?;
    Allow::new(host, port).map_err(|reason| fault(&reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_host_and_a_port() {
        for (address, host, port) in [
            ("https://packages.example/", "packages.example", 443),
            ("http://packages.example", "packages.example", 80),
            ("http://127.0.0.2:4873/npm/", "127.0.0.2", 4873),
            ("https://[fd00::1]:8443/", "[fd00::1]", 8443),
            ("https://[fd00::1]/", "[fd00::1]", 443),
        ] {
            assert_eq!(registry(address), Ok(Allow::new(host, port).unwrap()));
        }
        for wrong in [
            "",
            "packages.example",
            "ftp://a.example/",
            "https://",
            "https://a:b@c.example/",
            "https://a.example:x/",
            "https://a.example:0/",
            "https://*.a.example/",
            "https://a.example/?q",
            "http://0x7f.1/",
        ] {
            assert!(registry(wrong).is_err(), "{wrong}");
        }
    }
}
