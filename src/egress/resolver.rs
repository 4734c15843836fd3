//! The resolver of this host: its name servers and its file of hosts, asked by a library that knows how long an answer
//! is valid and asks again when a query was lost.
//!
//! The settings of the host are read once, when the worker starts.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use assize_host::clock::Clock;
use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::{DnsError, NetError};

/// How long one query may take before it counts as lost. A resolver that has the answer needs milliseconds, one that
/// must ask others needs a second at worst.
const QUERY_TIMEOUT: Duration = Duration::from_millis(1_200);

/// Queries after the first one that was lost. All four together end within the time of a look-up.
const RETRIES: usize = 3;

/// How long an answer is used at least and at most, whatever its record allows. Records of content networks are valid
/// for less than a connection lives, and those of one's own host for days.
pub const MIN_VALIDITY: Duration = Duration::from_secs(5);
pub const MAX_VALIDITY: Duration = Duration::from_secs(60);

/// Answers that are kept at one time: a stage reaches a handful of hosts.
const CACHE_ENTRIES: u64 = 256;

/// The addresses of a name, and for how long they may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    pub addresses: Vec<IpAddr>,
    pub valid_for: Duration,
}

/// From a name to its addresses.
pub type Resolver = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Resolved>> + Send + Sync>;

/// The resolver that this host is configured with (`/etc/resolv.conf`, `/etc/hosts`). If these files cannot be used, every
/// look-up fails for that reason: a host whose templates reach nothing needs no resolver.
pub fn of_host(clock: &Clock) -> Resolver {
    let resolver = configured().map_err(|error| {
        tracing::warn!(%error, "the settings of this host's resolver cannot be used; no name can be resolved");
        format!("the settings of this host's resolver cannot be used ({error}); correct /etc/resolv.conf")
    });
    asking(clock, resolver)
}

fn configured() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.timeout = QUERY_TIMEOUT;
    options.attempts = RETRIES;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = CACHE_ENTRIES;
    (options.positive_min_ttl, options.positive_max_ttl) = (Some(MIN_VALIDITY), Some(MAX_VALIDITY));
    // A failure is remembered by the stage that asked, for a shorter time.
    (options.negative_min_ttl, options.negative_max_ttl) = (None, Some(Duration::from_secs(1)));
    builder.build()
}

fn asking(clock: &Clock, resolver: Result<TokioResolver, String>) -> Resolver {
    let clock = clock.clone();
    Arc::new(move |name| {
        let (resolver, clock) = (resolver.clone(), clock.clone());
        Box::pin(async move {
            let resolver = resolver.map_err(io::Error::other)?;
            let found = resolver.lookup_ip(name).await.map_err(|error| io::Error::other(explain(&error)))?;
            let valid_for = found.valid_until().saturating_duration_since(clock.monotonic());
            Ok(Resolved { addresses: found.iter().collect(), valid_for: valid_for.clamp(MIN_VALIDITY, MAX_VALIDITY) })
        })
    })
}

/// Why there is no address, in the words of the field.
fn explain(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            format!("the name server answered {} without an address", none.response_code)
        }
        NetError::Timeout => format!("no name server answered {} queries", RETRIES + 1),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::runtime_clock;

    #[tokio::test]
    async fn without_settings_every_look_up_says_why() {
        let resolver = asking(&runtime_clock(), Err("no such file; correct /etc/resolv.conf".to_owned()));
        let error = resolver("packages.example".to_owned()).await.unwrap_err();
        assert!(error.to_string().contains("correct /etc/resolv.conf"), "{error}");
    }

    /// The file of hosts of every Linux names it, and no name server is asked.
    #[tokio::test]
    async fn the_file_of_hosts_is_read() {
        let resolved = of_host(&runtime_clock())("localhost".to_owned()).await.unwrap();
        assert!(resolved.addresses.iter().all(IpAddr::is_loopback) && !resolved.addresses.is_empty(), "{resolved:?}");
        assert!((MIN_VALIDITY..=MAX_VALIDITY).contains(&resolved.valid_for));
    }
}
