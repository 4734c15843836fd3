//! What keeps line feeds rare in what a project says, whatever it says.
//!
//! The engine's log keeps each line as a message of its own, with about 30 bytes around it, and
//! forgets its oldest when all of them reach a size. So the payloads that a project fills travel as
//! `mask: u8 | payload`, each byte of the payload XORed with the mask, and the mask is the one under
//! which fewest of them are line feeds: of `n` bytes at most `n / 256`. All other payloads go as
//! they are, [`crate::event::Hello`] above all: it must be readable whatever the version.

use crate::frame::{self, FLUSH, Frame, Kind, MAX_PAYLOAD};

/// The longest payload that fits into a frame behind its mask, in bytes.
pub const MAX_MASKED: usize = MAX_PAYLOAD - 1;

/// Whether a project decides what such a frame carries.
const fn is_masked(kind: Kind) -> bool {
    matches!(kind, Kind::Output | Kind::Results | Kind::Artifact | Kind::FromTunnel | Kind::Progress)
}

/// Appends a frame as a warden sends it.
///
/// # Panics
/// If the payload is longer than [`MAX_MASKED`]: senders cut their own data.
pub fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    if !is_masked(kind) {
        return frame::encode(kind, payload, out);
    }
    let mask = mask_of(payload);
    let mut masked = Vec::with_capacity(payload.len() + 1);
    masked.push(mask);
    masked.extend(payload.iter().map(|byte| byte ^ mask));
    frame::encode(kind, &masked, out);
}

/// What a frame of a warden carries; `None` if it has no mask where one belongs.
#[must_use]
pub fn decode(frame: Frame) -> Option<Vec<u8>> {
    if !is_masked(frame.kind) {
        return Some(frame.payload);
    }
    let (mask, masked) = frame.payload.split_first()?;
    Some(masked.iter().map(|byte| byte ^ mask).collect())
}

/// The mask under which the rarest byte value becomes the line feed.
fn mask_of(bytes: &[u8]) -> u8 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let rarest = (0..=u8::MAX).zip(counts).min_by_key(|(_, count)| *count).map_or(0, |(value, _)| value);
    rarest ^ FLUSH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Decoder;

    fn wire(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(kind, payload, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn what_a_warden_says_survives_the_wire(payload in prop::collection::vec(any::<u8>(), 0..600)) {
            for kind in [Kind::Output, Kind::Results, Kind::Artifact, Kind::FromTunnel, Kind::Progress, Kind::Hello, Kind::End] {
                let mut decoder = Decoder::default();
                decoder.feed(&wire(kind, &payload));
                let frame = decoder.next_frame().unwrap().unwrap();
                prop_assert_eq!(frame.kind, kind);
                prop_assert_eq!(decode(frame), Some(payload.clone()));
            }
        }
    }

    #[test]
    fn line_feeds_are_rare_whatever_is_said() {
        let every: Vec<u8> = (0..=u8::MAX).cycle().take(MAX_MASKED).collect();
        let lines: Vec<u8> = b"y\n".iter().copied().cycle().take(MAX_MASKED).collect();
        for payload in [vec![b'\n'; MAX_MASKED], vec![0; MAX_MASKED], every, lines] {
            for kind in [Kind::Output, Kind::Results, Kind::Artifact, Kind::FromTunnel, Kind::Progress] {
                let feeds = wire(kind, &payload).iter().filter(|byte| **byte == b'\n').count();
                // Kind, length and mask may be one too.
                assert!(feeds <= MAX_MASKED / 256 + 6, "{kind:?}: {feeds} line feeds");
            }
        }
    }

    #[test]
    fn a_frame_without_a_mask_is_not_read() {
        assert_eq!(decode(Frame { kind: Kind::Output, payload: Vec::new() }), None);
        assert_eq!(decode(Frame { kind: Kind::End, payload: Vec::new() }), Some(Vec::new()));
    }
}
