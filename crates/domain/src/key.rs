//! API keys: `assize_<id>_<secret>`.
//!
//! The id finds the row of the key, and the secret proves that the client has the key. The secret has 256 random bits,
//! so one round of SHA-256 protects it from readers of the table. The secret itself is never stored or logged.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::names;

/// The permissions of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyRole {
    /// Submit, cancel and read.
    Submit,
    /// Read only.
    Read,
    /// Everything.
    Admin,
}

names!(KeyRole, "role", { Submit => "submit", Read => "read", Admin => "admin" });

impl KeyRole {
    /// Whether the role may create and cancel.
    #[must_use]
    pub const fn may_submit(self) -> bool {
        matches!(self, Self::Submit | Self::Admin)
    }
}

/// Characters of a secret: 32 bytes in base64url without padding.
const SECRET_LENGTH: usize = 43;

/// A new key. Its text exists nowhere else, so the caller must show it once.
pub struct Minted {
    /// Id of the key: the row in the table.
    pub id: Uuid,
    /// Digest of the secret, for the table.
    pub secret_sha256: [u8; 32],
    text: String,
}

impl Minted {
    /// The whole key, as clients send it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Creates a key. The caller stores its id and digest together with organisation and role.
#[must_use]
pub fn mint() -> Minted {
    let id = Uuid::now_v7();
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    Minted { id, secret_sha256: digest(&secret), text: format!("assize_{}_{secret}", id.simple()) }
}

/// A well-formed key of a request. It may be unknown to this service.
pub struct Presented<'a> {
    /// Id of the key, which finds the row in the table.
    pub id: Uuid,
    secret: &'a str,
}

impl<'a> Presented<'a> {
    /// Reads a key from `text`; `None` if the text does not have the form of a key.
    pub fn read(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix("assize_")?.split_at_checked(32)?;
        let secret = secret.strip_prefix('_')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if secret.len() != SECRET_LENGTH
            || !secret.bytes().all(plain)
            || id.bytes().any(|byte| byte.is_ascii_uppercase())
        {
            return None;
        }
        Some(Self { id: Uuid::try_parse(id).ok()?, secret })
    }

    /// Whether the secret has this digest. The comparison takes the same time in both cases.
    pub fn proves(&self, secret_sha256: &[u8]) -> bool {
        digest(self.secret).ct_eq(secret_sha256).into()
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_proves_itself_and_no_other() {
        let (one, other) = (mint(), mint());
        let presented = Presented::read(one.text()).unwrap();
        assert_eq!(presented.id, one.id);
        assert!(presented.proves(&one.secret_sha256) && !presented.proves(&other.secret_sha256));
        assert!(!presented.proves(&[]));
    }

    #[test]
    fn what_is_not_quite_a_key_is_none() {
        let text = mint().text().to_owned();
        let swapped = text.replacen('_', "-", 1);
        let upper = format!("assize_{}", text["assize_".len()..].to_uppercase());
        for wrong in
            ["", "assize_", "assize__", &text[1..], &text[..text.len() - 1], &format!("{text}a"), &swapped, &upper]
        {
            assert!(Presented::read(wrong).is_none(), "{wrong}");
        }
        assert!(Presented::read(&format!("assize_{}_{}", "é".repeat(16), "a".repeat(43))).is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let minted = mint();
        assert!(!format!("{minted:?}").contains(&minted.text()[40..]));
    }
}
