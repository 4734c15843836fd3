//! Ed25519 keys. No other module names ed25519-dalek.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The bytes around the 32 secret bytes in a PKCS#8 document (RFC 8410): the same as OpenSSL writes.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Why a text is not a usable key. The message quotes nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message above each variant documents it")]
pub enum KeyError {
    #[error("the text contains no Ed25519 private key in PKCS#8 PEM (BEGIN PRIVATE KEY)")]
    NotPrivate,
    #[error("the text is not an Ed25519 public key: neither PEM (BEGIN PUBLIC KEY) nor 32 bytes in base64")]
    NotPublic,
    #[error("the public key is of small order, so that anyone can forge signatures for it")]
    Weak,
}

/// A key that signs. Wiped from memory when it is dropped.
pub struct PrivateKey {
    key: SigningKey,
    id: String,
}

impl PrivateKey {
    /// A new one, from the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        let seed = Zeroizing::new(rand::random::<[u8; 32]>());
        Self::from_signing_key(SigningKey::from_bytes(&seed))
    }

    fn from_signing_key(key: SigningKey) -> Self {
        let id = PublicKey(key.verifying_key()).id();
        Self { key, id }
    }

    /// Reads PKCS#8 PEM, as [`PrivateKey::to_pem`] and `openssl genpkey -algorithm ed25519` write it.
    ///
    /// # Errors
    /// [`KeyError::NotPrivate`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(text.trim()).map(Self::from_signing_key).map_err(|_| KeyError::NotPrivate)
    }

    /// As PKCS#8 PEM; wiped from memory when it is dropped.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        use base64::Engine as _;
        let mut document = Zeroizing::new([0_u8; 48]);
        document[..16].copy_from_slice(&PKCS8_HEAD);
        document[16..].copy_from_slice(self.key.as_bytes());
        let base64 = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(*document));
        Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *base64))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// [`PublicKey::id`] of its public half.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Signs; the same bytes always give the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A key that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError`] if they are no point of the curve, or one of small order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes = bytes.try_into().map_err(|_| KeyError::NotPublic)?;
        Self::checked(VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotPublic)?)
    }

    fn checked(key: VerifyingKey) -> Result<Self, KeyError> {
        if key.is_weak() { Err(KeyError::Weak) } else { Ok(Self(key)) }
    }

    /// From PEM, or from its bytes in base64.
    ///
    /// # Errors
    /// [`KeyError`] if it is neither.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        use base64::Engine as _;
        let text = text.trim();
        if text.starts_with("-----") {
            return Self::checked(VerifyingKey::from_public_key_pem(text).map_err(|_| KeyError::NotPublic)?);
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| KeyError::NotPublic)?;
        Self::from_bytes(&bytes)
    }

    /// As SubjectPublicKeyInfo in PEM, which other tools read.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Its name: SHA-256 of its DER form in hexadecimal, as `openssl pkey -pubin -outform DER | sha256sum` gives.
    #[must_use]
    pub fn id(&self) -> String {
        let der = self.0.to_public_key_der();
        hex::encode(Sha256::digest(der.as_ref().map(|der| der.as_bytes()).unwrap_or_default()))
    }

    /// Whether this key made the signature; strict: of all that the curve's equation lets through, only the
    /// one canonical form.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3: a private key, and the public key of section 10.1 that belongs to it.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn keys_are_written_as_others_write_them() {
        let key = PrivateKey::from_pem(PRIVATE).unwrap();
        assert_eq!(*key.to_pem(), PRIVATE);
        assert_eq!(key.public().to_pem(), PUBLIC);
        assert_eq!(PublicKey::from_text(PUBLIC).unwrap(), key.public());
        let base64 = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
        assert_eq!(PublicKey::from_text(base64).unwrap().id(), key.id());
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let wanted = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
            085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        let bytes: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap()).collect();
        let key = PrivateKey::from_signing_key(SigningKey::from_bytes(&bytes.try_into().unwrap()));
        assert_eq!(hex::encode(key.sign(b"\x72")), wanted);
        assert!(key.public().verifies(b"\x72", &key.sign(b"\x72")));
        assert!(!key.public().verifies(b"\x73", &key.sign(b"\x72")));
        assert!(!key.public().verifies(b"\x72", &key.sign(b"\x72")[..63]));
    }

    #[test]
    fn a_key_under_which_anyone_can_sign_is_none() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity), Err(KeyError::Weak));
        assert_eq!(PublicKey::from_bytes(&[0; 31]), Err(KeyError::NotPublic));
        assert_eq!(PublicKey::from_text(PRIVATE), Err(KeyError::NotPublic));
        assert!(matches!(PrivateKey::from_pem(PUBLIC), Err(KeyError::NotPrivate)));
    }

    #[test]
    fn debug_and_errors_show_no_secret() {
        let key = PrivateKey::generate();
        let pem = key.to_pem();
        let secret = pem.lines().nth(1).unwrap();
        assert!(!format!("{key:?}").contains(&secret[24..]));
        let broken = pem.replace("PRIVATE", "PUBLIC");
        assert!(!format!("{:?}", PrivateKey::from_pem(&broken)).contains(&secret[24..]));
    }
}
