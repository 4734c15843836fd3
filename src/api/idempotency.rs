//! The header `Idempotency-Key`: however often a submission is sent with the same key, it is stored once.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::form::{Project, SubmissionForm};
use super::problem::Problem;

/// The maximum length of a key in bytes; the column has the same limit.
const MAX_KEY_BYTES: usize = 255;

/// Returns the client's key, if it sent one.
///
/// # Errors
/// `bad_idempotency_key` if the header is repeated, empty, too long or not visible ASCII.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let visible =
        |key: &&str| (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    match value.to_str().ok().filter(visible) {
        Some(key) if values.next().is_none() => Ok(Some(key)),
        _ => Err(Problem::bad_idempotency_key()),
    }
}

/// Returns the digest of a submission: of its template, user and metadata, and of the archive's bytes or the repository's
/// address and ref. Two requests with the same digest are the same submission. The order of the fields, and of the keys
/// in the metadata, does not matter.
pub(super) fn request_sha256(form: &SubmissionForm) -> [u8; 32] {
    let mut digest = Sha256::new();
    let metadata = canonical(&form.metadata).to_string();
    let mut parts = vec![&form.template, &form.user, &metadata];
    match &form.project {
        Project::Archive(archive) => parts.push(&archive.sha256),
        Project::Repository(repository) => parts.extend([&repository.url, &repository.reference]),
    }
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// Sorts the keys of every object, so that the result does not depend on the map type of serde_json.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<_, _> = object.iter().map(|(key, value)| (key.clone(), canonical(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(values: &[&[u8]]) -> Option<Option<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("idempotency-key", HeaderValue::from_bytes(value).unwrap());
        }
        key(&headers).ok().map(|key| key.map(str::to_owned))
    }

    #[test]
    fn a_key_is_1_to_255_visible_characters_once() {
        assert_eq!(read(&[]), Some(None));
        assert_eq!(read(&[b"a-1"]), Some(Some("a-1".to_owned())));
        assert_eq!(read(&[&[b'k'; 255]]), Some(Some("k".repeat(255))));
        for wrong in [&[b"".as_slice()][..], &[b"a b"], &["é".as_bytes()], &[&[b'k'; 256]], &[b"a", b"b"]] {
            assert_eq!(read(wrong), None);
        }
    }
}
