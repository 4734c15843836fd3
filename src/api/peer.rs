//! Whom a request comes from, for the limits of each address.
//!
//! The other end of the connection, unless that is a proxy of `trusted_proxies`: then what the
//! nearest trusted proxy says of it in `X-Forwarded-For`. Nobody else is believed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies in a row that are looked through.
const MOST_HOPS: usize = 16;

/// The other end of a connection, as the kernel has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// Who is counted as one: an IPv4 address, or the 64 bits of an IPv6 network that one host may have
/// to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose word on addresses counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads the setting: addresses and networks, separated by commas; empty trusts nobody.
    ///
    /// # Errors
    /// Names the part that is neither.
    pub fn read(setting: &str) -> anyhow::Result<Self> {
        let parts = setting.split(',').map(str::trim).filter(|part| !part.is_empty());
        let nets = parts.map(|part| {
            let address = part.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            address.or_else(|_| part.parse::<IpNet>()).map_err(|_| {
                anyhow::anyhow!(
                    "setting trusted_proxies has {part:?}, which is no address (10.0.0.7) and no network (10.0.0.0/8)"
                )
            })
        });
        nets.collect::<anyhow::Result<_>>().map(Self)
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Whom a request over a connection of `peer` comes from. From the right, where each proxy adds
    /// what it saw, the first that is no trusted proxy; what cannot be read ends the search.
    pub fn source(&self, peer: IpAddr, headers: &HeaderMap) -> Source {
        let mut nearest = peer;
        if self.trusts(peer) {
            let lines = headers.get_all(FORWARDED_FOR).iter().rev();
            let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
            for address in hops.take(MOST_HOPS).map_while(|hop| address(hop.trim())) {
                nearest = address;
                if !self.trusts(address) {
                    break;
                }
            }
        }
        Source::of(nearest)
    }
}

/// An address as proxies write it: with or without a port, an IPv6 one with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn source(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        Proxies::read(proxies).unwrap().source(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn without_trusted_proxies_only_the_connection_counts() {
        assert_eq!(source("", "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(source("10.0.0.0/8", "192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_says_whom_it_saw_and_what_a_client_claims_changes_nothing() {
        let proxies = "10.0.0.0/8, 2001:db8::1";
        assert_eq!(source(proxies, "10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(source(proxies, "2001:db8::1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(source(proxies, "::ffff:10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(source(proxies, "10.0.0.1", &["203.0.113.9", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(source(proxies, "10.0.0.1", &["[2001:db8:1:2:3:4:5:6]:80"]), "2001:db8:1:2::");
    }

    #[test]
    fn what_cannot_be_read_is_counted_for_the_proxy_that_said_it() {
        for said in ["", "unknown", "198.51.100.1, nonsense", "1.2.3", &"9,".repeat(5000)] {
            assert_eq!(source("10.0.0.1", "10.0.0.1", &[said]), "10.0.0.1", "{said}");
        }
        let long = vec!["10.0.0.1"; 40].join(",");
        assert_eq!(source("10.0.0.1", "10.0.0.1", &["198.51.100.1", &long]), "10.0.0.1");
    }

    #[test]
    fn one_ipv6_network_of_a_host_is_one_source() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn a_setting_that_is_none_is_named() {
        let error = Proxies::read("10.0.0.0/8, proxy.example").unwrap_err().to_string();
        assert!(error.contains("\"proxy.example\""), "{error}");
    }
}
