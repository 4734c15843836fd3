//! The entity tag of a run, which shows whether a client has its current state.

use assize_store::runs::RunRow;
use axum::http::{HeaderMap, HeaderValue, header};

/// Returns the entity tag of a run. It changes whenever anything that a client sees of the run changes, except `queue`.
/// The position in the queue changes with every other run, and costs more to compute than everything else: a request
/// that only asks whether the run changed must not compute it, and a request that waits must not end with it.
pub(super) fn entity_tag(run: &RunRow) -> String {
    let phase = run.phase.map_or("none", |phase| phase.as_str());
    let cancelled = if run.cancel_requested_at.is_some() { "-cancel" } else { "" };
    format!("W/\"{}-{phase}-{}{cancelled}\"", run.status, run.attempt)
}

/// Returns the headers of the tag. A cache must revalidate the answer before each use.
pub(super) fn headers(tag: &str) -> [(header::HeaderName, HeaderValue); 2] {
    let tag = HeaderValue::from_str(tag).unwrap_or_else(|_| HeaderValue::from_static("W/\"unknown\""));
    [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))]
}

/// The tags that a client has, from its header `If-None-Match`.
pub(super) struct IfNoneMatch(Vec<String>);

impl IfNoneMatch {
    /// Returns `None` without the header.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let values: Vec<_> = headers.get_all(header::IF_NONE_MATCH).iter().collect();
        let tags = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        (!values.is_empty()).then(|| Self(tags.map(|tag| opaque(tag).to_owned()).collect()))
    }

    /// Whether `tag` is one of these tags, by the weak comparison that RFC 9110 requires for this header.
    pub fn matches(&self, tag: &str) -> bool {
        self.0.iter().any(|known| known == "*" || known == opaque(tag))
    }
}

fn opaque(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_compare_weakly() {
        let mut headers = HeaderMap::new();
        assert!(IfNoneMatch::read(&headers).is_none());
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\", W/\"b\""));
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"c\""));
        let known = IfNoneMatch::read(&headers).unwrap();
        assert!(["W/\"a\"", "\"b\"", "W/\"c\""].iter().all(|tag| known.matches(tag)) && !known.matches("W/\"d\""));
    }
}
