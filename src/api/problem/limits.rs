//! Problems with requests that are too large, too slow or too many.

use std::path::Path;

use super::{DISK_RETRY_AFTER_S, Problem, RETRY_AFTER_S, codes};
use crate::admission::{QueueFull, QueueQuota};

/// Seconds in `Retry-After` where another request or connection must end first.
const CONCURRENCY_RETRY_AFTER_S: u32 = 1;

/// Sizes and times.
impl Problem {
    pub fn uri_too_long(limit: usize, seen: usize) -> Self {
        let detail = format!("the path and the query have {seen} bytes, the limit is {limit}");
        Self::new(codes::URI_TOO_LONG, detail).limit(limit as u64, seen as u64)
    }

    pub fn body_too_long(limit: u64, seen: u64) -> Self {
        let detail = format!("the body has {seen} bytes or more, the limit is {limit}");
        Self::new(codes::BODY_TOO_LONG, detail).limit(limit, seen)
    }

    pub fn archive_too_large(limit: u64, seen: u64) -> Self {
        let detail = format!("the archive has {seen} bytes or more, the limit is {limit} (max_archive_bytes)");
        Self::new(codes::ARCHIVE_TOO_LARGE, detail).limit(limit, seen)
    }

    pub fn field_too_long(name: &'static str, limit: u64, seen: u64) -> Self {
        let detail = format!("the field {name} has {seen} bytes or more, the limit is {limit}");
        Self::new(codes::FIELD_TOO_LONG, detail).limit(limit, seen)
    }

    pub fn body_stalled(limit_s: u64) -> Self {
        Self::new(codes::BODY_STALLED, format!("no byte of the body arrived for {limit_s} s")).close()
    }

    pub fn body_too_slow(limit_s: u64) -> Self {
        Self::new(codes::BODY_TOO_SLOW, format!("the body did not arrive completely within {limit_s} s")).close()
    }

    /// `min_mean` is the minimum mean size of a chunk in bytes.
    pub fn chunks_too_small(min_mean: u64, chunks: u64, bytes: u64) -> Self {
        let detail =
            format!("{bytes} bytes of the body arrived in {chunks} chunks, the minimum mean is {min_mean} bytes");
        Self::new(codes::CHUNKS_TOO_SMALL, detail)
    }

    pub fn request_too_slow(limit_s: u64) -> Self {
        Self::new(codes::REQUEST_TOO_SLOW, format!("the service did not answer the request within {limit_s} s"))
            .retry_after(RETRY_AFTER_S)
            .close()
    }

    /// `limit` and `seen` are in bytes of free space.
    pub fn disk_full(folder: &Path, limit: u64, seen: u64) -> Self {
        let (limit_mib, seen_mib, folder) = (limit >> 20, seen >> 20, folder.display());
        let detail = format!("{folder} has {seen_mib} MiB of free space, the limit is {limit_mib} MiB");
        Self::new(codes::DISK_FULL, detail).limit(limit, seen).retry_after(DISK_RETRY_AFTER_S)
    }
}

/// Numbers.
impl Problem {
    pub fn queue_full(full: QueueFull) -> Self {
        let QueueFull { quota, limit, queued: seen, retry_after_s } = full;
        let (code, whose, setting) = match quota {
            QueueQuota::User => (codes::USER_QUEUE_FULL, "this user", "per_user_max_queued"),
            QueueQuota::Organization => (codes::ORG_QUEUE_FULL, "your organisation", "per_org_max_queued"),
            QueueQuota::All => (codes::QUEUE_FULL, "all organisations", "max_queued"),
        };
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Self::new(code, format!("{seen} runs of {whose} are queued, the limit is {limit} ({setting})"))
            .limit(count(limit), count(seen))
            .retry_after(retry_after_s)
    }

    pub fn too_many_open_requests(limit: usize) -> Self {
        let limit = limit as u64;
        let detail = format!("this key already has {limit} open requests, the limit (max_open_requests_per_key)");
        Self::new(codes::TOO_MANY_OPEN_REQUESTS, detail)
            .limit(limit, limit.saturating_add(1))
            .retry_after(CONCURRENCY_RETRY_AFTER_S)
    }

    /// Names no number: the client has shown no key.
    pub fn too_many_connections_from_address() -> Self {
        Self::too_many_connections("your address has too many open connections (max_connections_per_address)")
    }

    /// Names no number: the client has shown no key.
    pub fn too_many_connections_in_total() -> Self {
        Self::too_many_connections("the service has too many open connections (max_connections)")
    }

    fn too_many_connections(detail: &'static str) -> Self {
        Self::new(codes::TOO_MANY_CONNECTIONS, detail).retry_after(CONCURRENCY_RETRY_AFTER_S).close()
    }
}
