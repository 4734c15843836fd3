//! The address of a client, for the limits of each address.
//!
//! This is the peer address of the connection, unless the peer is one of `trusted_proxies`. Then it is the address
//! that the nearest trusted proxy reports in `X-Forwarded-For`. The header is ignored from any other peer.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The maximum number of trusted proxies in a row.
const MAX_HOPS: usize = 16;

/// The peer address of a connection, as the kernel reports it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerAddress(pub IpAddr);

/// What the limits of each address count as one client: an IPv4 address, or the /64 network of an IPv6 address, which
/// one host may own as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientAddress(IpAddr);

impl ClientAddress {
    pub fn from_ip(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        })
    }
}

impl std::fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub(super) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Parses the setting `trusted_proxies`: addresses and networks, separated by commas. An empty setting trusts no
    /// proxy.
    ///
    /// # Errors
    /// An error that names the part that is neither an address nor a network.
    pub fn read(setting: &str) -> anyhow::Result<Self> {
        let parts = setting.split(',').map(str::trim).filter(|part| !part.is_empty());
        let nets = parts.map(|part| {
            let address = part.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            address.or_else(|_| part.parse::<IpNet>()).map_err(|_| {
                anyhow::anyhow!(
                    "setting trusted_proxies has {part:?}; use addresses (10.0.0.7) and networks (10.0.0.0/8)"
                )
            })
        });
        nets.collect::<anyhow::Result<_>>().map(Self)
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Returns the client address of a request on a connection of `peer`: the rightmost address in `X-Forwarded-For`
    /// that is not a trusted proxy. Each proxy adds an address on the right. The search ends at an address that cannot
    /// be parsed.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let mut nearest = peer;
        if self.trusts(peer) {
            let lines = headers.get_all(FORWARDED_FOR).iter().rev();
            let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
            for address in hops.take(MAX_HOPS).map_while(|hop| address(hop.trim())) {
                nearest = address;
                if !self.trusts(address) {
                    break;
                }
            }
        }
        ClientAddress::from_ip(nearest)
    }
}

/// Parses an address as proxies write it: with or without a port, an IPv6 address with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        TrustedProxies::read(proxies).unwrap().client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn without_trusted_proxies_only_the_connection_counts() {
        assert_eq!(client("", "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.0/8", "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_reports_its_client_and_what_a_client_claims_changes_nothing() {
        let proxies = "10.0.0.0/8, 2001:db8::1";
        assert_eq!(client(proxies, "10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client(proxies, "2001:db8::1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(client(proxies, "::ffff:10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client(proxies, "10.0.0.1", &["203.0.113.9", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(client(proxies, "10.0.0.1", &["[2001:db8:1:2:3:4:5:6]:80"]), "2001:db8:1:2::");
    }

    #[test]
    fn an_address_that_cannot_be_parsed_counts_for_the_proxy_that_sent_it() {
        for sent in ["", "unknown", "198.51.100.1, nonsense", "1.2.3", &"9,".repeat(5000)] {
            assert_eq!(client("10.0.0.1", "10.0.0.1", &[sent]), "10.0.0.1", "{sent}");
        }
        let long = vec!["10.0.0.1"; 40].join(",");
        assert_eq!(client("10.0.0.1", "10.0.0.1", &["198.51.100.1", &long]), "10.0.0.1");
    }

    #[test]
    fn one_ipv6_network_of_a_host_is_one_client() {
        let client = |text: &str| ClientAddress::from_ip(text.parse().unwrap());
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }

    #[test]
    fn a_part_of_the_setting_that_is_not_valid_is_named() {
        let error = TrustedProxies::read("10.0.0.0/8, proxy.example").unwrap_err().to_string();
        assert!(error.contains("\"proxy.example\""), "{error}");
    }
}
