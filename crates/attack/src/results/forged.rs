//! Projects that try to get points from a driver with ten questions and answer none correctly.

use assize_protocol::event::{End, EndStatus, Output, ResultsStatus, Stream};
use assize_protocol::frame::{FLUSH, Kind};
use assize_protocol::mask;

use crate::case::{Case, Group};
use crate::trial::{Expectation, Trial};

/// The project. Its file `mode` names what it does. Its parts are one Python module, in this order.
const SUBJECT: &str = concat!(
    include_str!("subject/base.py"),
    include_str!("subject/forgeries.py"),
    include_str!("subject/answers.py"),
    include_str!("subject/processes.py"),
    include_str!("subject/service.py"),
);

/// A report with all points, as the driver would write it.
const FULL_MARKS: &str = r#"{"tests": [{"name": "all", "score": 10, "max_score": 10}]}"#;

const MODES: &[(&str, &str, &str)] = &[
    (
        "results-everywhere",
        "writes full marks to every path that it can write to",
        "the driver's results are in the driver's cell",
    ),
    (
        "frames-stdout",
        "prints the exact frames of a result on stdout",
        "its stdout is a pipe to its own warden: output",
    ),
    ("frames-stderr", "prints them on stderr", "its stderr is a pipe to its own warden: output"),
    (
        "frames-reopened",
        "writes them to /proc/1/fd/1, /dev/console and its own descriptors, opened again",
        "PID 1 is not dumpable",
    ),
    (
        "frames-flood",
        "prints a thousand of them at once, at the edges of reads",
        "its stdout is output, however it is cut",
    ),
    (
        "frames-answer",
        "answers with them, and the driver prints what it is answered",
        "the driver's stdout is output, too",
    ),
    ("passed-lines", "prints PASSED, ok, <testsuite> and full marks as JSON", "output is no report"),
    ("passed-answers", "answers with PASSED, ok and full marks as JSON", "the driver compares answers"),
    (
        "injected-json",
        "answers with quotes and braces that would end the driver's string",
        "the driver writes JSON by a writer",
    ),
    ("injected-lines", "answers with line feeds and escape sequences", "an answer is a string in the report"),
    ("ptrace", "attaches to every process that it can name", "it sees its own cell only; PID 1 is not dumpable"),
    ("signals", "sends every signal to every process it can name", "PID 1 has no handler for any"),
    ("warden-limits", "changes the limits and the priority of PID 1", "the warden's filter of calls"),
    ("warden-memory", "writes a verdict of its own into the memory of PID 1, through /proc", "PID 1 is not dumpable"),
    ("slow-head", "answers a byte of the head every half second", "the driver's own time for a question"),
    ("slow-body", "answers a byte of the body every half second", "the driver's own time for a question"),
    ("silent", "accepts and never answers", "the driver's own time for a question"),
    ("not-accepting", "stops accepting once it was found ready", "the driver's own time for a question"),
    ("endless-head", "answers with headers without end", "the client's limit of headers"),
    ("endless-line", "answers with one header line without end", "the client's limit of a line"),
    ("endless-body", "answers with a body without end", "the driver reads 4 KiB"),
    ("endless-continue", "answers 100 Continue for ever", "the driver's own time for a question"),
    ("endless-chunks", "answers in chunks without end", "the driver reads 4 KiB"),
    ("bad-status", "answers with a malformed status line", "the client refuses it"),
    ("bad-length", "answers with a length of -1", "the driver compares answers"),
    ("bad-chunks", "answers with a chunk of 2^64 bytes", "the client refuses it"),
    ("short-length", "answers fewer bytes than it declares", "the client refuses it"),
    ("two-answers", "answers twice to one question", "an answer is for one connection"),
    ("compressed-bomb", "answers with a gigabyte of zeros in a megabyte", "the driver unpacks nothing"),
    ("redirect", "sends the driver to its own files and to other ports", "the driver follows nothing"),
    ("reset", "resets every connection", "the driver gives no point for it"),
    ("http-0-9", "answers without any head", "the client refuses it"),
    ("other-status", "answers with status 500", "the driver wants 200"),
    ("stops-itself", "stops itself when the first question comes", "the driver's own time for a question"),
    ("dies", "ends when the first question comes", "the driver gives no point for it"),
    ("eats-memory", "takes all its memory when the first question comes", "the memory cgroup of its own cell"),
    ("forks", "starts processes without end when the first question comes", "the pids cgroup of its own cell"),
    (
        "takes-ports",
        "takes every port of the loopback, so that the driver gets none",
        "without a connection there is no point",
    ),
    (
        "visits-driver",
        "connects to every port and socket that appears in its namespace and offers full marks",
        "the driver listens nowhere",
    ),
    ("stands-in", "listens on every port of the loopback, to pose as another service", "the driver asks one port"),
    (
        "outlives",
        "leaves a daemon that writes full marks after its end",
        "the driver's results are read in another cell",
    ),
    ("opens-driver", "looks for the driver's files and processes", "another mount and PID namespace"),
];

pub(super) fn all() -> Vec<Trial> {
    let trials = MODES.iter().map(|(name, tried, control)| Trial {
        case: Case::new(Group::Results, &format!("forge-{name}"), *tried, *control),
        template: "service",
        archive: archive(name),
        expected: Expectation::GainsNothing,
    });
    trials.collect()
}

pub(super) fn archive(mode: &str) -> Vec<u8> {
    let text = |name: &str, text: &[u8]| (name.to_owned(), text.to_vec());
    assize_corpus::project(&[
        text("run.py", SUBJECT.as_bytes()),
        text("mode", mode.as_bytes()),
        text("frames", &frames()),
    ])
}

/// The frames that a warden would send for a report with all points, encoded with the warden's own codec.
pub(super) fn frames() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut send = |kind, payload: &[u8]| {
        mask::encode(kind, payload, &mut bytes);
        bytes.push(FLUSH);
    };
    let output = Output { at_us: 1, offset: 0, stage: 0, stream: Stream::Stdout, bytes: b"PASSED\n".to_vec() };
    let mut payload = Vec::new();
    output.encode(&mut payload);
    send(Kind::Output, &payload);
    send(Kind::Results, FULL_MARKS.as_bytes());
    let results = ResultsStatus::Read { bytes: FULL_MARKS.len() as u64 };
    let end = End { at_us: 2, status: EndStatus::Done, results, artifacts: None };
    send(Kind::End, &serde_json::to_vec(&end).unwrap_or_default());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_in_the_program() {
        for (name, ..) in MODES {
            let known = SUBJECT.contains(&format!("def {}(", name.replace('-', "_")));
            assert!(known, "{name}");
        }
    }

    #[test]
    fn the_frames_are_the_wardens_own() {
        let mut decoder = assize_protocol::frame::Decoder::default();
        decoder.feed(&frames());
        let frames: Vec<_> = std::iter::from_fn(|| decoder.next_frame().unwrap()).collect();
        assert_eq!(frames.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [Kind::Output, Kind::Results, Kind::End]);
        assert_eq!(mask::decode(frames[1].clone()).unwrap(), FULL_MARKS.as_bytes());
    }
}
