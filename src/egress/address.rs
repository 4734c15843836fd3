//! Which addresses are part of the public network, and which an operator must name. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What an address is to a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKind {
    Public,
    /// Somebody's own; only if the operator named it.
    Private(&'static str),
    /// Of no use to anybody but an attacker, whoever named it.
    Never(&'static str),
}

/// The special-purpose registries of IANA for IPv4 (RFC 6890 and later).
const PRIVATE_V4: &[(&str, &str)] = &[
    ("10.0.0.0/8", "a private range"),
    ("172.16.0.0/12", "a private range"),
    ("192.168.0.0/16", "a private range"),
    ("127.0.0.0/8", "the host itself"),
    ("100.64.0.0/10", "a range of carriers"),
    ("192.0.0.0/24", "a range of protocols"),
    ("192.0.2.0/24", "a range of documentation"),
    ("192.88.99.0/24", "a range of relays"),
    ("198.18.0.0/15", "a range of benchmarks"),
    ("198.51.100.0/24", "a range of documentation"),
    ("203.0.113.0/24", "a range of documentation"),
];

const NEVER_V4: &[(&str, &str)] = &[
    ("0.0.0.0/8", "no address"),
    // Where clouds keep the credentials of their machines.
    ("169.254.0.0/16", "a link-local range"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "a reserved range"),
];

/// Within 2000::/3, the only part of IPv6 that is public at all.
const PRIVATE_V6: &[(&str, &str)] = &[
    ("::1/128", "the host itself"),
    ("fc00::/7", "a private range"),
    ("2001:db8::/32", "a range of documentation"),
    ("3fff::/20", "a range of documentation"),
];

/// Those that hold an IPv4 address or a tunnel's would be a way around the table above.
const NEVER_V6: &[(&str, &str)] = &[
    ("2001::/23", "a range of protocols"),
    ("2002::/16", "an IPv4 address in disguise (6to4)"),
    ("64:ff9b::/96", "an IPv4 address in disguise (NAT64)"),
    ("64:ff9b:1::/48", "an IPv4 address in disguise (NAT64)"),
    ("fe80::/10", "a link-local range"),
    ("fec0::/10", "a site-local range"),
    ("ff00::/8", "multicast"),
];

type Table<T> = Vec<(T, &'static str)>;

struct Tables {
    private_v4: Table<Ipv4Net>,
    never_v4: Table<Ipv4Net>,
    private_v6: Table<Ipv6Net>,
    never_v6: Table<Ipv6Net>,
}

/// A row that cannot be read would be a hole; a test reads them all.
fn table<T: std::str::FromStr>(rows: &[(&str, &'static str)]) -> Table<T> {
    rows.iter().filter_map(|(net, what)| Some((net.parse().ok()?, *what))).collect()
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    private_v4: table(PRIVATE_V4),
    never_v4: table(NEVER_V4),
    private_v6: table(PRIVATE_V6),
    never_v6: table(NEVER_V6),
});

/// An IPv6 address that stands for an IPv4 address is looked at as that.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// What this address is.
#[must_use]
pub fn reach(address: IpAddr) -> AddressKind {
    match canonical(address) {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(address: Ipv4Addr) -> AddressKind {
    let find = |table: &Table<Ipv4Net>| table.iter().find(|(net, _)| net.contains(&address)).map(|(_, what)| *what);
    if let Some(what) = find(&TABLES.never_v4) {
        return AddressKind::Never(what);
    }
    find(&TABLES.private_v4).map_or(AddressKind::Public, AddressKind::Private)
}

fn reach_v6(address: Ipv6Addr) -> AddressKind {
    let find = |table: &Table<Ipv6Net>| table.iter().find(|(net, _)| net.contains(&address)).map(|(_, what)| *what);
    if let Some(what) = find(&TABLES.never_v6) {
        return AddressKind::Never(what);
    }
    match find(&TABLES.private_v6) {
        Some(what) => AddressKind::Private(what),
        None if address.segments()[0] & 0xe000 == 0x2000 => AddressKind::Public,
        None => AddressKind::Never("no public address"),
    }
}

/// What an operator let through although it is private.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    hosts: Vec<(String, u16)>,
    nets: Vec<IpNet>,
}

impl Named {
    /// Reads `host:port` and ranges like `10.1.0.0/16`, between commas or spaces.
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut named = Self::default();
        for entry in text.split([',', ' ']).filter(|entry| !entry.is_empty()) {
            if let Ok(net) = entry.parse::<IpNet>() {
                named.nets.push(net);
                continue;
            }
            let host = entry.rsplit_once(':').and_then(|(host, port)| {
                let port = port.parse().ok().filter(|port| *port > 0)?;
                Some((super::Host::parse(host).ok()?.to_string(), port))
            });
            named.hosts.push(host.ok_or_else(|| format!("{entry:?} is neither host:port nor a range"))?);
        }
        Ok(named)
    }

    /// Whether this address may be dialled for a host and port.
    ///
    /// # Errors
    /// What the address is.
    pub fn check(&self, host: &super::Host, port: u16, address: IpAddr) -> Result<(), &'static str> {
        let address = canonical(address);
        match reach(address) {
            AddressKind::Public => Ok(()),
            AddressKind::Never(what) => Err(what),
            AddressKind::Private(what) => {
                let is_named = self.nets.iter().any(|net| net.contains(&address))
                    || self.hosts.iter().any(|(name, at)| *at == port && *name == host.to_string());
                if is_named { Ok(()) } else { Err(what) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach_by_name(text: &str) -> AddressKind {
        reach(text.parse().unwrap())
    }

    #[test]
    fn every_row_is_read() {
        let read = [TABLES.private_v4.len(), TABLES.never_v4.len(), TABLES.private_v6.len(), TABLES.never_v6.len()];
        assert_eq!(read, [PRIVATE_V4.len(), NEVER_V4.len(), PRIVATE_V6.len(), NEVER_V6.len()]);
    }

    #[test]
    fn the_public_network_is_public_up_to_its_edges() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2400::1",
            "2001:200::1",
            "2003::1",
            "3ffe::1",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(reach_by_name(address), AddressKind::Public, "{address}");
        }
    }

    #[test]
    fn what_is_somebodys_own_must_be_named() {
        for address in [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.192",
            "198.18.0.1",
            "203.0.113.80",
            "::1",
            "fc00::1",
            "fd12:3456::1",
            "fdff::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:c0a8:1",
        ] {
            assert!(
                matches!(reach_by_name(address), AddressKind::Private(_)),
                "{address}: {:?}",
                reach_by_name(address)
            );
        }
    }

    #[test]
    fn what_only_an_attacker_wants_is_never_reached() {
        let named = Named::parse("0.0.0.0/0, ::/0, metadata:80").unwrap();
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2001::1",
            "2001:0:4136:e378::1",
            "::127.0.0.1",
            "::a9fe:a9fe",
            "::ffff:169.254.169.254",
            "::ffff:0:0",
            "100::1",
            "4000::1",
            "::ffff:0:7f00:1",
            "5f00::1",
        ] {
            assert!(matches!(reach_by_name(address), AddressKind::Never(_)), "{address}: {:?}", reach_by_name(address));
            let host = super::super::Host::parse("metadata").unwrap();
            assert!(named.check(&host, 80, address.parse().unwrap()).is_err(), "{address}");
        }
    }

    #[test]
    fn only_what_was_named_is_let_through() {
        let named = Named::parse("10.1.0.0/16, registry.internal:4873 127.0.0.2:80,fd00::/8").unwrap();
        let check = |host: &str, port, address: &str| {
            named.check(&super::super::Host::parse(host).unwrap(), port, address.parse().unwrap()).is_ok()
        };
        assert!(check("any.example", 443, "10.1.2.3") && check("any.example", 443, "::ffff:10.1.2.3"));
        assert!(!check("any.example", 443, "10.2.0.1"));
        assert!(check("registry.internal", 4873, "192.168.7.7") && check("127.0.0.2", 80, "127.0.0.2"));
        assert!(!check("registry.internal", 22, "192.168.7.7") && !check("x.registry.internal", 4873, "192.168.7.7"));
        assert!(check("any.example", 443, "fd12::1"));
        for wrong in ["host", "host:0", "host:x", "10.0.0.0/33", "a b:c", "host:65536", "*.a:80"] {
            assert!(Named::parse(wrong).is_err(), "{wrong}");
        }
    }
}
