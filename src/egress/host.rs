//! The names of hosts, in one form each, and the list of those that a stage may reach. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::canonical;

/// A host as it was asked for, in the one form that is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// In lower case, without a last dot.
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Host {
    /// Reads a name, an IPv4 address of four plain decimal numbers, or an IPv6 address in brackets. A
    /// host that resolvers would take for an address in another form (decimal, octal, hexadecimal,
    /// shortened) is refused: two readers could take it for two things.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Option<Ipv6Addr> = inner.strip_suffix(']').and_then(|inner| inner.parse().ok());
            return match address {
                Some(address) => Ok(Self::Address(canonical(address.into()))),
                None => Err("no IPv6 address"),
            };
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() || name.len() > 253 {
            return Err("a host name has 1 to 253 characters");
        }
        for label in name.split('.') {
            if label.is_empty() || label.len() > 63 {
                return Err("a label of a host name has 1 to 63 characters");
            }
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
            if !label.bytes().all(plain) || label.starts_with('-') || label.ends_with('-') {
                return Err("a host name is made of letters, digits and hyphens");
            }
        }
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_number {
            return Err("an address is written as four decimal numbers");
        }
        Ok(Self::Name(name))
    }
}

/// One host and port that a stage may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    host: Pattern,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exactly(Host),
    /// Any name below this one, at whatever depth, but not itself.
    Below(String),
}

impl Allow {
    /// `host` is a name, an address, or `*.name`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(host: &str, port: u16) -> Result<Self, String> {
        if port == 0 {
            return Err(format!("port 0 of {host}"));
        }
        let fault = |reason| format!("host {host:?}: {reason}");
        let pattern = match host.strip_prefix("*.") {
            None => Pattern::Exactly(Host::parse(host).map_err(fault)?),
            Some(suffix) => match Host::parse(suffix).map_err(fault)? {
                Host::Name(name) if name.contains('.') => Pattern::Below(format!(".{name}")),
                _ => return Err(fault("`*.` stands before a name of two parts or more")),
            },
        };
        Ok(Self { host: pattern, port })
    }

    #[must_use]
    pub fn matches(&self, host: &Host, port: u16) -> bool {
        self.port == port
            && match (&self.host, host) {
                (Pattern::Exactly(allowed), host) => allowed == host,
                (Pattern::Below(suffix), Host::Name(name)) => name.len() > suffix.len() && name.ends_with(suffix),
                (Pattern::Below(_), Host::Address(_)) => false,
            }
    }

    /// The one host and its port; `None` if it stands for all names below one.
    #[must_use]
    pub fn exactly(&self) -> Option<(String, u16)> {
        match &self.host {
            Pattern::Exactly(host) => Some((host.to_string(), self.port)),
            Pattern::Below(_) => None,
        }
    }

    /// Whether it is one host, and not all names below one.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        matches!(self.host, Pattern::Exactly(_))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_has_one_form() {
        let same = |text: &str, form: &str| assert_eq!(Host::parse(text).unwrap().to_string(), form);
        same("Packages.Example.", "packages.example");
        same("10.0.0.1", "10.0.0.1");
        same("[::FFFF:10.0.0.1]", "10.0.0.1");
        same("[2001:DB8:0:0::1]", "[2001:db8::1]");
        same("xn--bcher-kva.example", "xn--bcher-kva.example");
        same("0x7f.example", "0x7f.example");
    }

    #[test]
    fn addresses_in_odd_forms_are_refused() {
        for text in [
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "1.2.3.4.5",
            "256.0.0.1",
            "127.0.0.0x1",
            "0x",
            "1.2.3.",
            "a.b.0x1f",
            "example.1",
            "::1",
            "[::1",
            "[::1%lo]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "",
            ".",
            "..",
            "a..b",
            "-a.example",
            "a-.example",
            "a b",
            "a\u{301}.example",
            "a@b",
            "a/b",
            "a:80",
            "*.example.com",
            "%31.example",
        ] {
            assert!(Host::parse(text).is_err(), "{text:?}");
        }
        assert!(Host::parse(&format!("{}.example", "a".repeat(64))).is_err());
        assert!(Host::parse(&vec!["a".repeat(60); 5].join(".")).is_err());
    }

    #[test]
    fn only_what_is_listed_matches() {
        let may = |allowed: &str, host: &str, port| {
            Allow::new(allowed, 443).unwrap().matches(&Host::parse(host).unwrap(), port)
        };
        assert!(may("packages.example", "PACKAGES.example.", 443));
        assert!(!may("packages.example", "packages.example", 80));
        assert!(
            !may("packages.example", "a.packages.example", 443) && !may("packages.example", "xpackages.example", 443)
        );
        assert!(may("*.example.org", "a.example.org", 443) && may("*.example.org", "a.b.example.org", 443));
        assert!(!may("*.example.org", "example.org", 443) && !may("*.example.org", "badexample.org", 443));
        assert!(!may("*.example.org", "example.org.evil.example", 443));
        assert!(may("10.0.0.1", "[::ffff:10.0.0.1]", 443) && !may("10.0.0.1", "10.0.0.2", 443));
        for wrong in ["*", "*.", "*.org", "*.10.0.0.1", "a.*.org", "**.example.org", "http://a.example", ""] {
            assert!(Allow::new(wrong, 443).is_err(), "{wrong}");
        }
        assert!(Allow::new("a.example", 0).is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_read_again_the_same(text in "[a-z0-9.:x\\[\\]-]{0,30}") {
            if let Ok(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
            }
        }
    }
}
