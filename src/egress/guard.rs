//! From a request to addresses that may be dialled, or to a refusal.

use std::net::{IpAddr, SocketAddr};

use assize_host::clock::Clock;

use super::address::{Named, canonical};
use super::host::{Allow, Host};
use super::lookups::{Lookups, Names, Standing};
use super::resolver::{self, Resolver};

/// More addresses than any real name has; the rest is not looked at, and so not dialled.
const MAX_ADDRESSES: usize = 16;

/// Why a connection is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{host:?} cannot be asked for: {reason}")]
    Unreadable { host: String, reason: &'static str },
    #[error("{host}:{port} is not on the list of what this stage may reach")]
    NotListed { host: String, port: u16 },
    /// It would be on the list if the operator had set this.
    #[error(
        "{host}:{port} is not on the list of what this stage may reach: the setting {setting}, which the template needs, is empty"
    )]
    SettingMissing { host: String, port: u16, setting: &'static str },
    #[error("{host} resolves to {address}, {what}, which egress_private_hosts does not name")]
    Address { host: String, address: IpAddr, what: &'static str, is_listed: bool },
    #[error("{host} did not resolve: {reason}")]
    Unresolved { host: String, reason: String },
    /// Of a name that stands in no list, only one above it does: the project may have made it up.
    #[error("{host} did not resolve: {reason}; only names above it are listed")]
    NoSuchName { host: String, reason: String },
    #[error("{host}:{port} did not answer: {reason}")]
    Unreachable { host: String, port: u16, reason: String },
    /// Of a name that stands in no list, only one above it does: the project chose it.
    #[error("{host}:{port} did not answer: {reason}; only names above it are listed")]
    NobodyThere { host: String, port: u16, reason: String },
    #[error("this stage has used up its {limit} {of}")]
    Quota { limit: u64, of: &'static str },
}

impl Refusal {
    /// What the client in the cell is told.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Unreadable { .. } => 400,
            Self::NotListed { .. } | Self::SettingMissing { .. } | Self::Address { .. } => 403,
            Self::Unresolved { .. } | Self::NoSuchName { .. } | Self::Unreachable { .. } | Self::NobodyThere { .. } => {
                502
            }
            Self::Quota { .. } => 429,
        }
    }

    /// Whether a listed host could not be reached. Whether that is the network's doing and none of the project's
    /// shows what else it did: see [`super::outage`].
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unresolved { .. } | Self::Unreachable { .. })
    }
}

/// What may be dialled for one request.
#[derive(Debug, PartialEq, Eq)]
pub struct DialTarget {
    /// One after another; each was checked.
    pub addresses: Vec<SocketAddr>,
    /// The host in its one form.
    pub host: Host,
    /// Whether it stands in the list itself, and not only a name above it.
    pub is_listed: bool,
}

/// Decides what may be dialled.
#[derive(Clone)]
pub struct Guard {
    named: Named,
    lookups: Lookups,
}

impl Guard {
    /// # Errors
    /// The entry of `private_hosts` that cannot be read.
    pub fn new(clock: &Clock, private_hosts: &str, resolver: Resolver) -> Result<Self, String> {
        Ok(Self { named: Named::parse(private_hosts)?, lookups: Lookups::new(clock.clone(), resolver) })
    }

    /// With the resolver of the host.
    ///
    /// # Errors
    /// As [`Guard::new`].
    pub fn of_host(clock: &Clock, private_hosts: &str) -> Result<Self, String> {
        Self::new(clock, private_hosts, resolver::of_host(clock))
    }

    /// The clock by which its connections are timed.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        self.lookups.clock()
    }

    /// The addresses to dial for a host and port: each of them was checked. One address in the answer that may
    /// not be dialled spoils all of it. `names` are those that this stage has had looked up.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn admit(&self, names: &Names, allowed: &[Allow], host: &str, port: u16) -> Result<DialTarget, Refusal> {
        let unreadable = |reason| Refusal::Unreadable { host: host.to_owned(), reason };
        let host = Host::parse(host).map_err(unreadable)?;
        if !allowed.iter().any(|allow| allow.matches(&host, port)) {
            return Err(Refusal::NotListed { host: host.to_string(), port });
        }
        let is_listed = allowed.iter().any(|allow| allow.is_exact() && allow.matches(&host, port));
        let mut addresses = match &host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let standing = if is_listed { Standing::Listed } else { Standing::Below };
                let failed = |reason| match standing {
                    Standing::Listed => Refusal::Unresolved { host: name.clone(), reason },
                    Standing::Below => Refusal::NoSuchName { host: name.clone(), reason },
                };
                names.resolve(&self.lookups, name, standing).await.map_err(failed)?.addresses
            }
        };
        addresses.truncate(MAX_ADDRESSES);
        let mut checked = Vec::with_capacity(addresses.len());
        for address in addresses {
            let address = canonical(address);
            let refused = |what| Refusal::Address { host: host.to_string(), address, what, is_listed };
            self.named.check(&host, port, address).map_err(refused)?;
            checked.push(SocketAddr::new(address, port));
        }
        Ok(DialTarget { addresses: checked, host, is_listed })
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::egress::Resolved;
    use crate::test_clock::runtime_clock;

    /// Gives the answers one after another, and fails when there is none left.
    fn guard(private: &str, answers: Vec<io::Result<Vec<&'static str>>>) -> Guard {
        let answers = Mutex::new(answers.into_iter());
        let resolver: Resolver = Arc::new(move |_| {
            let next = answers.lock().unwrap().next().unwrap_or_else(|| Err(io::Error::other("asked too often")));
            let parsed = next.map(|all| Resolved {
                addresses: all.into_iter().map(|one| one.parse().unwrap()).collect(),
                valid_for: resolver::MAX_VALIDITY,
            });
            Box::pin(async move { parsed })
        });
        Guard::new(&runtime_clock(), private, resolver).unwrap()
    }

    fn allowed() -> Vec<Allow> {
        vec![Allow::new("packages.example", 443).unwrap(), Allow::new("10.0.0.1", 443).unwrap()]
    }

    #[tokio::test]
    async fn a_listed_host_with_public_addresses_is_admitted() {
        let guard = guard("", vec![Ok(vec!["1.1.1.1", "2606:4700::1"])]);
        let admitted = guard.admit(&Names::default(), &allowed(), "Packages.Example", 443).await.unwrap();
        assert_eq!(admitted.addresses, ["1.1.1.1:443".parse().unwrap(), "[2606:4700::1]:443".parse().unwrap()]);
    }

    #[tokio::test]
    async fn what_is_not_listed_is_not_even_resolved() {
        let guard = guard("0.0.0.0/0", vec![]);
        for (host, port) in
            [("other.example", 443), ("packages.example", 80), ("a.packages.example", 443), ("10.0.0.2", 443)]
        {
            let refusal = guard.admit(&Names::default(), &allowed(), host, port).await.unwrap_err();
            assert_eq!((&refusal, refusal.status()), (&Refusal::NotListed { host: host.to_owned(), port }, 403));
        }
        let refusal = guard.admit(&Names::default(), &allowed(), "0x7f000001", 443).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Unreadable { .. }), "{refusal}");
    }

    #[tokio::test]
    async fn one_private_address_spoils_an_answer() {
        for private in ["10.0.0.5", "169.254.169.254", "127.0.0.1", "::1", "::ffff:192.168.0.1", "64:ff9b::7f00:1"] {
            for answer in [vec![private], vec!["1.1.1.1", private], vec![private, "1.1.1.1"]] {
                let guard = guard("", vec![Ok(answer)]);
                let refusal = guard.admit(&Names::default(), &allowed(), "packages.example", 443).await.unwrap_err();
                assert!(matches!(refusal, Refusal::Address { .. }) && refusal.status() == 403, "{refusal}");
            }
        }
        let refusal = guard("", vec![]).admit(&Names::default(), &allowed(), "10.0.0.1", 443).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Address { .. }), "a listed address is private all the same: {refusal}");
        assert!(guard("10.0.0.1:443", vec![]).admit(&Names::default(), &allowed(), "10.0.0.1", 443).await.is_ok());
    }

    /// FAILURES 24: the guard that was skipped when DNS failed, and the answer that changes.
    #[tokio::test]
    async fn a_resolver_that_fails_is_a_refusal_and_none_is_asked_twice() {
        for answer in [Err(io::Error::other("SERVFAIL")), Ok(vec![])] {
            let refusal = guard("", vec![answer, Ok(vec!["1.1.1.1"])])
                .admit(&Names::default(), &allowed(), "packages.example", 443)
                .await;
            let refusal = refusal.unwrap_err();
            assert!(matches!(refusal, Refusal::Unresolved { .. }) && refusal.is_outage(), "{refusal}");
        }
        let rebinding = guard("", vec![Ok(vec!["1.1.1.1"]), Ok(vec!["127.0.0.1"])]);
        let first = rebinding.admit(&Names::default(), &allowed(), "packages.example", 443).await.unwrap();
        assert_eq!(first.addresses, ["1.1.1.1:443".parse().unwrap()], "what was checked is what is dialled");
        let second = rebinding.admit(&Names::default(), &allowed(), "packages.example", 443).await.unwrap_err();
        assert!(matches!(second, Refusal::Address { .. }), "{second}");
    }

    /// FAILURES 30, from the other side: else a project could fail and have the infrastructure blamed.
    #[tokio::test]
    async fn a_name_that_a_project_made_up_is_no_outage() {
        let allowed =
            [Allow::new("*.packages.example", 443).unwrap(), Allow::new("cdn.packages.example", 443).unwrap()];
        let failing = || guard("", vec![Err(io::Error::other("NXDOMAIN"))]);
        let made_up = failing().admit(&Names::default(), &allowed, "nothing.packages.example", 443).await.unwrap_err();
        assert!(matches!(made_up, Refusal::NoSuchName { .. }) && !made_up.is_outage(), "{made_up}");
        let named = failing().admit(&Names::default(), &allowed, "cdn.packages.example", 443).await.unwrap_err();
        assert!(named.is_outage(), "{named}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_never_answers_is_a_refusal() {
        let guard = Guard::new(&runtime_clock(), "", Arc::new(|_| Box::pin(std::future::pending()))).unwrap();
        let refusal = guard.admit(&Names::default(), &allowed(), "packages.example", 443).await.unwrap_err();
        assert_eq!(refusal.to_string(), "packages.example did not resolve: no answer in 5000 ms");
    }
}
