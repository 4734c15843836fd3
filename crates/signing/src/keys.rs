//! Public keys as the service publishes them, and as a verifier trusts them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::key::{KeyError, PublicKey};

/// The largest file of keys that is read, in bytes, and the most keys in it: a century of monthly rotations.
pub const MAX_BYTES: usize = 1024 * 1024;
const MAX_KEYS: usize = 1200;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";

/// A public key as `GET /v1/signing-keys` and `assize key signing export` give it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = SigningKey))]
pub struct PublishedKey {
    /// SHA-256 of the key in DER, in hexadecimal; the `keyid` of its signatures.
    pub id: String,
    /// `ed25519`.
    pub algorithm: String,
    /// In PEM.
    pub public_key: String,
    /// Time at which the key was created, by the clock of the database.
    pub created_at: DateTime<Utc>,
    /// Nothing that it signs after this time is valid; what it signed before stays so.
    pub retired_at: Option<DateTime<Utc>>,
}

impl PublishedKey {
    /// A key from the table.
    #[must_use]
    pub fn new(key: PublicKey, created_at: DateTime<Utc>, retired_at: Option<DateTime<Utc>>) -> Self {
        Self { id: key.id(), algorithm: "ed25519".to_owned(), public_key: key.to_pem(), created_at, retired_at }
    }
}

/// All public keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SigningKeys {
    /// Oldest first.
    pub keys: Vec<PublishedKey>,
}

/// A key that the verifier trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key itself.
    pub key: PublicKey,
    /// Name of the key: [`PublicKey::id`].
    pub id: String,
    /// Time after which no signature of the key counts.
    pub retired_at: Option<DateTime<Utc>>,
}

/// The keys that the verifier trusts, from a source that the verifier chose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys(Vec<TrustedKey>);

/// Why a file contains no usable keys.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message above each variant documents it")]
pub enum KeysError {
    #[error("the file has more than {MAX_BYTES} bytes, the limit; give a file that contains only public keys")]
    TooLong,
    #[error("the file has {0} keys, it must have 1 to {MAX_KEYS}; give only the keys that you trust")]
    Count(usize),
    #[error(
        "the file is neither the JSON of `assize key signing export` ({0}) nor public keys in PEM or base64; export the keys again"
    )]
    NotKeys(String),
    #[error("key {at}: {reason}")]
    Key { at: usize, reason: KeyError },
    #[error("key {at} has the id {declared:?}, but its bytes have the id {actual}; export the keys again")]
    Misnamed { at: usize, declared: String, actual: String },
}

impl TrustedKeys {
    /// Reads what [`SigningKeys`] are as JSON, or one or more keys in PEM, or one in base64.
    ///
    /// # Errors
    /// [`KeysError`]: one key that is wrong spoils all of them.
    pub fn read(text: &str) -> Result<Self, KeysError> {
        if text.len() > MAX_BYTES {
            return Err(KeysError::TooLong);
        }
        let keys = if text.trim_start().starts_with('{') {
            let published: SigningKeys =
                serde_json::from_str(text).map_err(|error| KeysError::NotKeys(error.to_string()))?;
            let keys = published.keys.into_iter().zip(1..).map(|(published, at)| {
                let key = trusted(at, &published.public_key, published.retired_at)?;
                if key.id == published.id {
                    Ok(key)
                } else {
                    let declared = published.id.chars().take(64).collect();
                    Err(KeysError::Misnamed { at, declared, actual: key.id })
                }
            });
            keys.collect::<Result<Vec<_>, _>>()?
        } else if text.contains(BEGIN) {
            let keys = text.split(BEGIN).skip(1).zip(1..);
            keys.map(|(rest, at)| trusted(at, &format!("{BEGIN}{rest}"), None)).collect::<Result<_, _>>()?
        } else if text.trim().is_empty() {
            Vec::new()
        } else {
            vec![trusted(1, text, None)?]
        };
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(KeysError::Count(keys.len()));
        }
        Ok(Self(keys))
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// Each of them.
    #[must_use]
    pub fn as_slice(&self) -> &[TrustedKey] {
        &self.0
    }
}

fn trusted(at: usize, text: &str, retired_at: Option<DateTime<Utc>>) -> Result<TrustedKey, KeysError> {
    let key = PublicKey::from_text(text).map_err(|reason| KeysError::Key { at, reason })?;
    Ok(TrustedKey { id: key.id(), key, retired_at })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::key::PrivateKey;
    use super::*;

    fn published() -> Vec<PublishedKey> {
        let at = "2026-11-21T10:00:00Z".parse().unwrap();
        (0..2).map(|_| PublishedKey::new(PrivateKey::generate().public(), at, Some(at))).collect()
    }

    #[test]
    fn keys_are_read_in_each_form() {
        let keys = published();
        let json = serde_json::to_string_pretty(&SigningKeys { keys: keys.clone() }).unwrap();
        let read = TrustedKeys::read(&json).unwrap();
        assert_eq!((read.as_slice()[1].id.as_str(), read.as_slice()[1].retired_at), (&*keys[1].id, keys[1].retired_at));
        let both = format!("# ours\n{}\n{}", keys[0].public_key, keys[1].public_key);
        let ids = |read: &TrustedKeys| read.as_slice().iter().map(|key| key.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&TrustedKeys::read(&both).unwrap()), ids(&read));
        let base64 = STANDARD.encode(read.as_slice()[0].key.bytes());
        assert_eq!(ids(&TrustedKeys::read(&format!("{base64}\n")).unwrap()), [keys[0].id.clone()]);
    }

    #[test]
    fn one_wrong_key_spoils_all() {
        let mut keys = published();
        let json = |keys: &[PublishedKey]| serde_json::to_string(&SigningKeys { keys: keys.to_vec() }).unwrap();
        let other = keys[0].id.clone();
        keys[1].id = other;
        assert!(matches!(TrustedKeys::read(&json(&keys)), Err(KeysError::Misnamed { at: 2, .. })));
        keys[1].public_key = "nonsense".to_owned();
        assert!(matches!(TrustedKeys::read(&json(&keys)), Err(KeysError::Key { at: 2, .. })));
        assert!(matches!(TrustedKeys::read(&json(&[])), Err(KeysError::Count(0))));
        assert!(matches!(TrustedKeys::read("\n"), Err(KeysError::Count(0))), "what an export that failed leaves");
        assert!(matches!(TrustedKeys::read("{\"keys\": 1}"), Err(KeysError::NotKeys(_))));
        assert!(matches!(TrustedKeys::read(&" ".repeat(MAX_BYTES + 1)), Err(KeysError::TooLong)));
        assert!(TrustedKeys::read("").is_err());
    }
}
