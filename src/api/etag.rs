//! Whether a client has seen a run as it is now.

use axum::http::{HeaderMap, HeaderValue, header};

use assize_store::runs::RunRow;

/// The entity tag of a run: another whenever anything that a client sees of it is another, but for its
/// place in the queue. That moves with every other run, and telling it costs more than all the rest: a
/// client that only asks whether the run moved is not to pay for it, and one that waits is not to be woken.
pub(super) fn of(run: &RunRow) -> String {
    let phase = run.phase.map_or("none", |phase| phase.as_str());
    let cancelled = if run.cancel_requested_at.is_some() { "-cancel" } else { "" };
    format!("W/\"{}-{phase}-{}{cancelled}\"", run.status, run.attempt)
}

/// Its header. Whoever keeps the answer must ask again before using it.
pub(super) fn headers(tag: &str) -> [(header::HeaderName, HeaderValue); 2] {
    let tag = HeaderValue::from_str(tag).unwrap_or_else(|_| HeaderValue::from_static("W/\"unknown\""));
    [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))]
}

/// The tags that a client has, from `If-None-Match`; `None` without the header.
pub(super) struct Known(Vec<String>);

impl Known {
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let values: Vec<_> = headers.get_all(header::IF_NONE_MATCH).iter().collect();
        let tags = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        (!values.is_empty()).then(|| Self(tags.map(|tag| opaque(tag).to_owned()).collect()))
    }

    /// Whether `tag` is one of them; weakly, as RFC 9110 wants it for this header.
    pub fn has(&self, tag: &str) -> bool {
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
        assert!(Known::read(&headers).is_none());
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"a\", W/\"b\""));
        headers.append(header::IF_NONE_MATCH, HeaderValue::from_static("\"c\""));
        let known = Known::read(&headers).unwrap();
        assert!(["W/\"a\"", "\"b\"", "W/\"c\""].iter().all(|tag| known.has(tag)) && !known.has("W/\"d\""));
    }
}
