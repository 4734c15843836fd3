//! The envelope: `kind: u8 | length: u32 little-endian | payload`, and after it, if the sender likes,
//! a line feed.
//!
//! The line feed is for the engine: its log driver passes on what it has read at the end of a line,
//! so a frame without one could stay unseen in the journal until the next frame comes.
//!
//! Both directions use it, and the journal is nothing but a run of such frames, so a reader may
//! be fed in pieces of any size. A payload is bounded before it is buffered: a peer that lies
//! about a length costs the reader [`MAX_PAYLOAD`] bytes and no more.

use std::fmt;

/// Bytes of a frame before its payload.
pub const HEADER: usize = 5;

/// May stand between two frames and means nothing; no [`Kind`] has this byte.
pub const FLUSH: u8 = b'\n';

/// As [`FLUSH`]. A run of these also completes a frame that was cut anywhere: the length that they
/// complete is never longer than the true one (see [`crate::egress::resync`]).
pub const FILL: u8 = 0;

/// The longest payload in bytes. Larger things (archives, results) travel as several frames.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// What a frame carries. Below 0x80 it goes to the warden, from 0x80 on it comes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A [`crate::plan::Plan`] as JSON; the first frame, in one piece or several, closed by `PlanEnd`.
    Plan = 0x01,
    /// The plan is complete.
    PlanEnd = 0x02,
    /// `input: u8`, then bytes of that input's archive. Inputs come in the plan's order.
    Input = 0x03,
    /// `input: u8`: that archive is complete.
    InputEnd = 0x04,
    /// Empty: stop whatever runs, read the results, report and exit.
    Finish = 0x05,
    /// A [`crate::egress::ToCell`].
    ToTunnel = 0x06,

    /// A [`crate::exec::Call`] as JSON. This and the next three go from the driver's cell to the subject's.
    Call = 0x11,
    /// Bytes of the call's standard input.
    CallInput = 0x12,
    /// The call is complete and may start.
    CallStart = 0x13,
    /// Nobody waits for the call any more.
    CallCancel = 0x14,

    /// An [`crate::event::Hello`] as JSON.
    Hello = 0x81,
    /// An [`crate::event::StageStarted`] as JSON.
    StageStarted = 0x82,
    /// An [`crate::event::StageReady`] as JSON: a service answers its probe.
    StageReady = 0x83,
    /// [`crate::event::Output`] in its binary form, under a [`crate::mask`].
    Output = 0x84,
    /// An [`crate::event::StageEnded`] as JSON.
    StageEnded = 0x85,
    /// Bytes of a results file, under a mask.
    Results = 0x86,
    /// An [`crate::event::End`] as JSON; the last frame.
    End = 0x87,
    /// A [`crate::egress::FromCell`], under a mask.
    FromTunnel = 0x88,
    /// An [`crate::event::ResultsFileStarted`] as JSON: the `Results` frames that follow are of this file. Only where the
    /// path of the results is a pattern.
    ResultsFile = 0x89,
    /// An [`crate::artifacts::ArtifactStarted`] as JSON: the `Artifact` frames that follow are of this file.
    ArtifactStarted = 0x8A,
    /// Bytes of an artifact, under a mask.
    Artifact = 0x8B,
    /// An [`crate::artifacts::ArtifactEnded`] as JSON.
    ArtifactEnded = 0x8C,
    /// A [`crate::progress::Progress`] in its binary form, under a mask.
    Progress = 0x8D,

    /// Bytes that a call wrote to stdout. This and the next two go from the subject's cell to the driver's.
    CallStdout = 0x91,
    /// Bytes that a call wrote to stderr.
    CallStderr = 0x92,
    /// A [`crate::exec::CallEnded`] as JSON.
    CallEnded = 0x93,
    /// A [`crate::exec::CallFile`] as JSON: a file that the call was to write.
    CallFile = 0x94,
    /// Bytes of the file that the last `CallFile` names.
    CallFileData = 0x95,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::*;
        [
            Plan,
            PlanEnd,
            Input,
            InputEnd,
            Finish,
            ToTunnel,
            Hello,
            StageStarted,
            StageReady,
            Output,
            StageEnded,
            Results,
            End,
            FromTunnel,
            ResultsFile,
            ArtifactStarted,
            Artifact,
            ArtifactEnded,
            Progress,
            Call,
            CallInput,
            CallStart,
            CallCancel,
            CallStdout,
            CallStderr,
            CallEnded,
            CallFile,
            CallFileData,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// One frame, its payload owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the frame carries.
    pub kind: Kind,
    /// The bytes of the frame behind its header.
    pub payload: Vec<u8>,
}

/// Why bytes are not frames. The stream cannot be trusted after either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The first byte of a frame is not a [`Kind`].
    UnknownKind(u8),
    /// A frame announces this many bytes, more than [`MAX_PAYLOAD`].
    TooLong(usize),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(byte) => write!(f, "unknown frame kind 0x{byte:02x}"),
            Self::TooLong(length) => {
                write!(f, "a frame announces {length} bytes, the limit is {MAX_PAYLOAD}")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Appends one frame to `out`.
///
/// # Panics
/// If the payload is longer than [`MAX_PAYLOAD`]: senders cut their own data.
pub fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    assert!(payload.len() <= MAX_PAYLOAD, "a sender must cut its payloads");
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.push(kind as u8);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(payload);
}

/// Turns bytes that arrive in pieces into frames.
///
/// Holds at most one unfinished frame: [`HEADER`] + [`MAX_PAYLOAD`] bytes, plus what was just fed.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// Adds bytes as they came from the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` until more bytes are fed.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes cannot be a frame; the decoder stays at the bad byte.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        while matches!(self.buffer.get(self.taken), Some(&(FLUSH | FILL))) {
            self.taken += 1;
        }
        let rest = self.buffer.get(self.taken..).unwrap_or_default();
        let Some((header, body)) = rest.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let kind = Kind::from_byte(header[0]).ok_or(FrameError::UnknownKind(header[0]))?;
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        let Some(payload) = body.get(..length) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.taken += HEADER + length;
        Ok(Some(Frame { kind, payload }))
    }

    /// Whether bytes of an unfinished frame are waiting: at the end of a stream, a cut.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.taken < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let kinds = [Kind::Plan, Kind::Input, Kind::Finish, Kind::Hello, Kind::Output, Kind::End];
        let frame = (prop::sample::select(kinds.to_vec()), prop::collection::vec(any::<u8>(), 0..50));
        prop::collection::vec(frame.prop_map(|(kind, payload)| Frame { kind, payload }), 0..20)
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            frames in frames(),
            cuts in prop::collection::vec(1usize..40, 1..50),
            flushed in any::<bool>(),
        ) {
            let mut bytes = Vec::new();
            for frame in &frames {
                encode(frame.kind, &frame.payload, &mut bytes);
                bytes.extend(flushed.then_some(FLUSH));
            }
            let mut decoder = Decoder::default();
            let (mut decoded, mut rest) = (Vec::new(), bytes.as_slice());
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                decoder.feed(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    decoded.push(frame);
                }
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(decoded, frames);
            prop_assert!(!decoder.is_mid_frame());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    #[test]
    fn a_lying_length_is_refused_before_its_payload_comes() {
        let mut decoder = Decoder::default();
        decoder.feed(&[Kind::Plan as u8]);
        decoder.feed(&65_537u32.to_le_bytes());
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(65_537)));
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(65_537)), "it stays at the bad byte");
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut decoder = Decoder::default();
        decoder.feed(&[0x80, 0, 0, 0, 0]);
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownKind(0x80)));
    }

    #[test]
    fn a_cut_frame_is_noticed() {
        let mut decoder = Decoder::default();
        decoder.feed(&[Kind::Plan as u8, 4, 0, 0, 0, b'x']);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.is_mid_frame());
    }
}
