//! API keys: how one is made, and how one is read.
//!
//! A key is `assize_<id>_<secret>`. The id finds the row, the digest of the secret proves it, and
//! only the digest is stored: whoever reads the database cannot call the API.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Bytes of randomness in a secret: enough that one round of SHA-256 cannot be searched.
const SECRET_BYTES: usize = 32;

/// Characters of a secret: [`SECRET_BYTES`] in base64url without padding.
const SECRET_CHARS: usize = 43;

/// Characters of an id: a UUID without hyphens.
const ID_CHARS: usize = 32;

/// A new key. `text` exists only here; nobody can show it again.
pub struct Minted {
    pub id: Uuid,
    pub text: String,
    pub secret_sha256: [u8; 32],
}

/// Makes a key from the operating system's randomness.
#[must_use]
pub fn mint() -> Minted {
    let id = Uuid::now_v7();
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>());
    let text = format!("assize_{}_{secret}", id.simple());
    Minted { id, text, secret_sha256: digest(&secret) }
}

/// The id and the digest of the secret that a key's text holds; `None` if it is no key. Whether it
/// is a *valid* one only the stored digest can tell.
#[must_use]
pub fn parse(text: &str) -> Option<(Uuid, [u8; 32])> {
    let (id, secret) = text.strip_prefix("assize_")?.split_once('_')?;
    let is_id = id.len() == ID_CHARS && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_secret = secret.len() == SECRET_CHARS
        && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !is_id || !is_secret {
        return None;
    }
    Some((Uuid::try_parse(id).ok()?, digest(secret)))
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_reads_back() {
        for _ in 0..100 {
            let minted = mint();
            assert_eq!(parse(&minted.text), Some((minted.id, minted.secret_sha256)));
            assert_eq!(minted.text.len(), "assize_".len() + ID_CHARS + 1 + SECRET_CHARS);
        }
    }

    #[test]
    fn no_two_keys_share_a_secret() {
        assert_ne!(mint().secret_sha256, mint().secret_sha256);
    }

    #[test]
    fn a_damaged_key_is_no_key() {
        let good = mint().text;
        for bad in [
            "",
            "assize_",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}A"),
            &format!(" {good}"),
            &format!("{good}\n"),
            &good.to_uppercase(),
            &good.replacen("assize_", "assize__", 1),
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        let mut other = good.clone();
        other.pop();
        other.push('=');
        assert_eq!(parse(&other), None);
    }

    #[test]
    fn another_secret_has_another_digest() {
        let minted = mint();
        let mut text = minted.text.clone();
        let last = text.pop();
        text.push(if last == Some('A') { 'B' } else { 'A' });
        assert_ne!(parse(&text).map(|(_, digest)| digest), Some(minted.secret_sha256));
    }
}
