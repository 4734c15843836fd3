//! DSSE envelopes (secure-systems-lab/dsse, version 1): a payload, its type, and signatures over both.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::key::{PrivateKey, PublicKey};
use super::verify::Refused;

/// The type of every payload here: an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The type of an envelope itself, over HTTP.
pub const MEDIA_TYPE: &str = "application/vnd.dsse.envelope.v1+json";

/// The longest envelope that is read, in bytes. A verdict is made of a report of at most 1 MiB
/// ([`assize_domain::verdict::Limits`]); as JSON, with what JSON adds to 10,000 tests, and in base64 it stays below.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The most signatures that are looked at: ours have one.
pub const MAX_SIGNATURES: usize = 16;

/// A signed payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// `application/vnd.in-toto+json`.
    pub payload_type: String,
    /// In base64: the bytes that were signed.
    pub payload: String,
    /// The signatures; assize makes one.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an [`Envelope`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EnvelopeSignature {
    /// Which key says that it made it; only a hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyid: Option<String>,
    /// In base64.
    pub sig: String,
}

/// What is signed in the place of a payload: type and payload, each with its length, so that no other pair
/// of both gives the same bytes.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut signed = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    signed.extend_from_slice(payload);
    signed
}

impl Envelope {
    /// Signs a payload of [`PAYLOAD_TYPE`].
    #[must_use]
    pub fn sign(key: &PrivateKey, payload: &[u8]) -> Self {
        let sig = STANDARD.encode(key.sign(&pae(PAYLOAD_TYPE, payload)));
        Self {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![EnvelopeSignature { keyid: Some(key.id().to_owned()), sig }],
        }
    }

    /// Reads an envelope; nothing of it is believed yet.
    ///
    /// # Errors
    /// [`Refused`] if it is none, or larger than [`MAX_BYTES`].
    pub fn read(bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.len() > MAX_BYTES {
            return Err(Refused::TooLong { limit: MAX_BYTES, seen: bytes.len() });
        }
        let envelope: Self =
            serde_json::from_slice(bytes).map_err(|error| Refused::NotAnEnvelope(error.to_string()))?;
        if envelope.signatures.is_empty() || envelope.signatures.len() > MAX_SIGNATURES {
            return Err(Refused::Signatures { limit: MAX_SIGNATURES, seen: envelope.signatures.len() });
        }
        Ok(envelope)
    }

    /// The payload, and the places in `keys` of those whose signature it bears. A signature by a key that is not
    /// among them says nothing, for or against.
    ///
    /// # Errors
    /// [`Refused`] if no key of `keys` signed it, or it is of another type.
    pub fn open(&self, keys: &[PublicKey]) -> Result<(Vec<u8>, Vec<usize>), Refused> {
        let payload = decode("payload", &self.payload)?;
        let signed = pae(&self.payload_type, &payload);
        let mut by = Vec::new();
        for signature in &self.signatures {
            let bytes = decode("sig", &signature.sig)?;
            by.extend(keys.iter().position(|key| key.verifies(&signed, &bytes)));
        }
        if by.is_empty() {
            return Err(self.unopened(keys));
        }
        if self.payload_type != PAYLOAD_TYPE {
            return Err(Refused::PayloadType(self.payload_type.chars().take(100).collect()));
        }
        Ok((payload, by))
    }

    /// What is wrong, as far as the hints tell.
    fn unopened(&self, keys: &[PublicKey]) -> Refused {
        let named: Vec<String> = self.signatures.iter().filter_map(|signature| signature.keyid.clone()).collect();
        if keys.iter().any(|key| named.contains(&key.id())) {
            return Refused::Forged;
        }
        let named = named.iter().map(|id| id.chars().take(64).collect()).collect::<Vec<String>>().join(", ");
        Refused::UnknownKey { named: if named.is_empty() { "none".to_owned() } else { named }, known: keys.len() }
    }
}

/// Either alphabet, as the specification wants, and in each only the one way to write some bytes.
fn decode(what: &'static str, text: &str) -> Result<Vec<u8>, Refused> {
    STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .map_err(|error| Refused::Base64 { what, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(payload: &[u8]) -> (PrivateKey, Envelope) {
        let key = PrivateKey::generate();
        let envelope = Envelope::sign(&key, payload);
        (key, envelope)
    }

    #[test]
    fn pae_is_that_of_the_specification() {
        let vector = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), vector);
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
        // Lengths count bytes, not characters.
        assert_eq!(pae("ä", "ö\0".as_bytes()), "DSSEv1 2 ä 3 ö\0".as_bytes());
    }

    #[test]
    fn the_same_payload_gives_the_same_envelope() {
        let (key, envelope) = sealed(b"{}");
        assert_eq!(Envelope::sign(&key, b"{}"), envelope);
        let text = serde_json::to_string(&envelope).unwrap();
        assert!(
            text.starts_with(
                r#"{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":""#
            )
        );
        assert_eq!(Envelope::read(text.as_bytes()).unwrap(), envelope);
    }

    #[test]
    fn another_key_is_told_apart_from_a_forged_signature() {
        let (key, mut envelope) = sealed(b"{}");
        let other = PrivateKey::generate().public();
        assert!(matches!(envelope.open(&[other]), Err(Refused::UnknownKey { known: 1, .. })));
        assert!(matches!(envelope.open(&[]), Err(Refused::UnknownKey { known: 0, .. })));
        assert_eq!(envelope.open(&[other, key.public()]).unwrap(), (b"{}".to_vec(), vec![1]));
        envelope.signatures[0].sig = STANDARD.encode([7; 64]);
        assert!(matches!(envelope.open(&[key.public()]), Err(Refused::Forged)));
    }

    #[test]
    fn of_two_signatures_one_by_a_trusted_key_is_enough() {
        let (key, mut envelope) = sealed(b"{}");
        let stranger = Envelope::sign(&PrivateKey::generate(), b"{}").signatures.remove(0);
        envelope.signatures.insert(0, stranger.clone());
        assert_eq!(envelope.open(&[key.public()]).unwrap().1, [0]);
        // The hint decides nothing: not when it is wrong, and not when it is missing.
        envelope.signatures[1].keyid = None;
        assert!(envelope.open(&[key.public()]).is_ok());
        envelope.signatures[1].keyid = stranger.keyid.clone();
        assert!(envelope.open(&[key.public()]).is_ok());
        envelope.signatures.truncate(1);
        assert!(envelope.open(&[key.public()]).is_err());
        envelope.signatures[0].keyid = Some(key.id().to_owned());
        assert!(matches!(envelope.open(&[key.public()]), Err(Refused::Forged)));
    }

    #[test]
    fn another_type_is_refused_even_if_it_is_signed() {
        let key = PrivateKey::generate();
        let (kind, payload) = ("application/json", b"{}");
        let sig = STANDARD.encode(key.sign(&pae(kind, payload)));
        let signatures = vec![EnvelopeSignature { keyid: None, sig }];
        let envelope = Envelope { payload_type: kind.to_owned(), payload: STANDARD.encode(payload), signatures };
        assert!(matches!(envelope.open(&[key.public()]), Err(Refused::PayloadType(seen)) if seen == kind));
        // And a signature over one type is none over another.
        let relabelled = Envelope { payload_type: PAYLOAD_TYPE.to_owned(), ..envelope };
        assert!(relabelled.open(&[key.public()]).is_err());
    }

    #[test]
    fn base64_has_one_way_to_say_it_in_each_alphabet() {
        let (key, envelope) = sealed(b"\xfb\xff\xfe>?");
        assert_eq!(envelope.payload, "+//+Pj8=");
        let with = |payload: &str| Envelope { payload: payload.to_owned(), ..envelope.clone() }.open(&[key.public()]);
        assert!(with("+//+Pj8=").is_ok() && with("-__-Pj8=").is_ok());
        // Without padding, with stray bits, spaces, line ends, or both alphabets mixed.
        for wrong in ["+//+Pj8", "+//+Pj9=", "+//+ Pj8=", "+//+Pj8=\n", "-//+Pj8=", "+//+Pj8==", "", "="] {
            assert!(with(wrong).is_err(), "{wrong:?}");
        }
        let mut unpadded = envelope.clone();
        unpadded.signatures[0].sig = unpadded.signatures[0].sig.trim_end_matches('=').to_owned();
        assert!(matches!(unpadded.open(&[key.public()]), Err(Refused::Base64 { what: "sig", .. })));
    }

    #[test]
    fn what_is_cut_off_too_long_or_doubled_is_no_envelope() {
        let (_, envelope) = sealed(b"{\"a\":1}");
        let text = serde_json::to_string(&envelope).unwrap();
        for end in 0..text.len() {
            assert!(Envelope::read(&text.as_bytes()[..end]).is_err(), "{end}");
        }
        assert!(matches!(Envelope::read(&vec![b' '; MAX_BYTES + 1]), Err(Refused::TooLong { .. })));
        let doubled = text.replacen('{', r#"{"payload":"e30=","#, 1);
        assert!(matches!(Envelope::read(doubled.as_bytes()), Err(Refused::NotAnEnvelope(_))));
        let many = Envelope { signatures: vec![envelope.signatures[0].clone(); 17], ..envelope.clone() };
        let none = Envelope { signatures: Vec::new(), ..envelope };
        for wrong in [many, none] {
            let text = serde_json::to_vec(&wrong).unwrap();
            assert!(matches!(Envelope::read(&text), Err(Refused::Signatures { limit: 16, .. })));
        }
        assert!(Envelope::read("[".repeat(100_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_signed_opens(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let (key, envelope) = sealed(&payload);
            prop_assert_eq!(envelope.open(&[key.public()]).unwrap(), (payload, vec![0]));
        }

        #[test]
        fn one_changed_byte_of_payload_or_signature_is_noticed(
            payload in prop::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), flip in 1_u8..,
            in_signature in any::<bool>(),
        ) {
            let (key, mut envelope) = sealed(&payload);
            let text = if in_signature { &mut envelope.signatures[0].sig } else { &mut envelope.payload };
            let mut bytes = STANDARD.decode(&*text).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            *text = STANDARD.encode(bytes);
            prop_assert!(matches!(envelope.open(&[key.public()]), Err(Refused::Forged)));
        }

        /// In the text itself: refused, or it still says the very same.
        #[test]
        fn one_changed_byte_of_the_file_changes_nothing_that_was_signed(
            at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let (key, envelope) = sealed(br#"{"score":1,"of":[2,3]}"#);
            let mut text = serde_json::to_vec(&envelope).unwrap();
            let at = at.index(text.len());
            text[at] = byte;
            if let Ok((payload, _)) = Envelope::read(&text).and_then(|envelope| envelope.open(&[key.public()])) {
                prop_assert_eq!(payload, br#"{"score":1,"of":[2,3]}"#);
            }
        }

        #[test]
        fn no_two_pairs_are_signed_alike(
            one in (".{0,8}", prop::collection::vec(any::<u8>(), 0..8)),
            other in (".{0,8}", prop::collection::vec(any::<u8>(), 0..8)),
        ) {
            prop_assert_eq!(one == other, pae(&one.0, &one.1) == pae(&other.0, &other.1));
        }
    }
}
