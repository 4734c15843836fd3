//! The byte stream between worker and cell, in both directions.
//!
//! The first byte says into pieces of how many bytes the stream is cut: the frames must be the same however it comes.

#![no_main]

use assize_protocol::event::{End, Hello, Output, StageEnded, StageReady, StageStarted};
use assize_protocol::frame::{Decoder, FILL, FLUSH, Frame, FrameError, HEADER, Kind, MAX_PAYLOAD, encode};
use assize_protocol::mask::{self, MAX_MASKED};
use assize_protocol::progress::{Progress, TestReport};
use libfuzzer_sys::fuzz_target;

/// All frames up to the end or the first error, and whether the stream was cut within one.
fn decode(stream: &[u8], piece: usize) -> (Vec<Frame>, Option<FrameError>, bool) {
    let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
    for piece in stream.chunks(piece.max(1)) {
        decoder.feed(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error), true),
            }
        }
    }
    (frames, None, decoder.is_mid_frame())
}

/// The stream without what may stand between frames, as far as the frames go.
fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        encode(frame.kind, &frame.payload, &mut bytes);
    }
    bytes
}

/// Takes the frames out of the stream by hand.
fn without_flushes(mut stream: &[u8], frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        while let [FLUSH | FILL, rest @ ..] = stream {
            stream = rest;
        }
        let (taken, rest) = stream.split_at(HEADER + frame.payload.len());
        bytes.extend_from_slice(taken);
        stream = rest;
    }
    bytes
}

fn check_event<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(payload: &[u8]) {
    if let Ok(event) = serde_json::from_slice::<T>(payload) {
        let again = serde_json::to_vec(&event).expect("an event can be written");
        assert_eq!(serde_json::from_slice::<T>(&again).expect("what was written can be read"), event);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let whole = decode(stream, usize::MAX);
    assert_eq!(decode(stream, piece.into()), whole, "pieces of {piece}");
    let frames = &whole.0;
    assert_eq!(encoded(frames), without_flushes(stream, frames));
    for frame in frames {
        assert!(frame.payload.len() <= MAX_PAYLOAD);
        // Under a mask or not, as its kind has it.
        let Some(payload) = mask::decode(frame.clone()) else { continue };
        let mut masked = Vec::new();
        if payload.len() <= MAX_MASKED {
            mask::encode(frame.kind, &payload, &mut masked);
            let (again, ..) = decode(&masked, usize::MAX);
            assert_eq!(again.into_iter().next().and_then(mask::decode).as_ref(), Some(&payload));
        }
        match frame.kind {
            Kind::Hello => check_event::<Hello>(&payload),
            Kind::StageStarted => check_event::<StageStarted>(&payload),
            Kind::StageReady => check_event::<StageReady>(&payload),
            Kind::StageEnded => check_event::<StageEnded>(&payload),
            Kind::End => check_event::<End>(&payload),
            Kind::Output => {
                if let Some(output) = Output::decode(&payload) {
                    let mut again = Vec::new();
                    output.encode(&mut again);
                    assert_eq!(again, payload);
                }
            }
            Kind::Progress => {
                let Some(progress) = Progress::decode(&payload) else { continue };
                for line in progress.lines.split(|byte| *byte == b'\n') {
                    let Ok(report) = TestReport::parse(line) else { continue };
                    let mut again = Vec::new();
                    report.encode(&mut again);
                    assert_eq!(TestReport::parse(again.trim_ascii_end()), Ok(report));
                }
            }
            _ => {}
        }
    }
});
