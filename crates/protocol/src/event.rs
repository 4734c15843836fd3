//! The reports of a warden. Times are microseconds of the host's monotonic clock, which all cells of a host share, so
//! that the reports of two cells can be ordered.

use serde::{Deserialize, Serialize};

use crate::artifacts::ArtifactsReport;
use crate::exec::Secret;
use crate::progress::DroppedLines;

/// The first frame: the warden has made itself safe and waits for its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the protocol that the warden speaks: [`crate::plan::VERSION`].
    pub version: u16,
    /// Time of the report, in µs.
    pub at_us: u64,
}

/// A stage's process exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStarted {
    /// Index into the plan's stages.
    pub stage: u8,
    /// Time at which the process was created, in µs.
    pub at_us: u64,
}

/// A service answers its probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageReady {
    /// Index into the plan's stages.
    pub stage: u8,
    /// Time at which the probe was answered, in µs.
    pub at_us: u64,
    /// Of a stage that serves calls: what the driver's warden must know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
}

/// A stage is over; every process of its group is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageEnded {
    /// Index into the plan's stages.
    pub stage: u8,
    /// How the stage's first process ended.
    pub exit: StageExit,
    /// For a service: whether it ever answered its probe.
    pub ready: bool,
    /// Time at which the stage started, in µs.
    pub started_us: u64,
    /// Time at which the last process of the stage was gone, in µs.
    pub at_us: u64,
    /// What it wrote, in bytes, kept or not.
    pub output_bytes: u64,
    /// Bytes that fell between head and tail.
    pub output_dropped: u64,
    /// User and system time of its processes, in ms.
    pub cpu_ms: u64,
    /// The largest resident set among its processes, in KiB.
    pub max_rss_kib: u64,
    /// A watched mount point without a free byte or inode at the end.
    pub disk_full: Option<String>,
    /// What the kernel counted for the cell so far, as its own cgroup says from inside. It stands in
    /// the journal too: whoever reads that later cannot ask a cell that is gone.
    #[serde(default)]
    pub oom_kills: u64,
    /// How often the cell's own memory limit refused it memory; absent if that could not be seen.
    #[serde(default)]
    pub memory_limit_hits: Option<u64>,
    /// Forks that the pids limit refused.
    #[serde(default)]
    pub pids_refused: u64,
    /// What became of the lines that it wrote about its tests and that were not sent on.
    #[serde(default, skip_serializing_if = "DroppedLines::is_none")]
    pub lines_dropped: DroppedLines,
}

/// How a stage's leader ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum StageExit {
    /// The process exited by itself.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// A signal ended the process.
    Signalled {
        /// Number of the signal.
        signal: i32,
    },
    /// The program could not be started.
    NotStarted {
        /// Error of the system, in words.
        error: String,
    },
    /// Killed at its own time limit.
    TimedOut,
    /// Killed at the plan's time limit.
    GlobalTimedOut,
    /// Killed for what it wrote.
    OutputLimit,
    /// Stopped because the plan was over or a `Finish` came.
    Stopped,
}

/// The last frame; the warden exits after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Time of the report, in µs.
    pub at_us: u64,
    /// How the plan ended.
    pub status: EndStatus,
    /// What became of the results file.
    pub results: ResultsStatus,
    /// What became of the artifacts; absent if the plan asked for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<ArtifactsReport>,
}

/// How a plan ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum EndStatus {
    /// Every stage ran, or one stage ended the plan early; its [`StageEnded`] has the reason.
    Done,
    /// An input could not be unpacked within its limits.
    Rejected {
        /// Index into the plan's inputs.
        input: u8,
        /// What was wrong, the limit and the value, in words.
        reason: String,
    },
    /// A mount point filled up while an input was unpacked.
    DiskFull {
        /// Index into the plan's inputs.
        input: u8,
        /// The mount point without a free byte or inode.
        path: String,
    },
    /// An input that the warden kept back until a later stage could not be unpacked, because earlier stages changed its
    /// folder.
    Spoiled {
        /// Index into the plan's inputs.
        input: u8,
        /// What was wrong, in words.
        reason: String,
    },
    /// The plan or the stream was unusable: a fault of the worker, never of the project.
    Fault {
        /// What was wrong, in words.
        error: String,
    },
}

/// One of several results files begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsFileStarted {
    /// Its name without its folder; bytes that are not UTF-8 are replaced.
    pub name: String,
}

/// What became of the results files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "results", rename_all = "snake_case")]
pub enum ResultsStatus {
    /// The plan asked for no results.
    None,
    /// Every file was sent in `Results` frames.
    Read {
        /// Length of all files together.
        bytes: u64,
    },
    /// There is no file, or the warden could not look for it.
    Missing {
        /// What kept the warden from looking for the file; absent if there is no file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A file is not a plain file, or there are more files or bytes than allowed.
    Refused {
        /// What was wrong, the limit and the value, in words.
        reason: String,
    },
}

/// Which pipe a piece of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of a stage's output, in its binary form:
/// `at_us: u64 | offset: u64 | stage: u8 | stream: u8 | bytes`, integers little-endian.
///
/// `offset` counts the stage's bytes over both streams; a jump in it is where bytes were dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Time at which the warden read the piece, in µs.
    pub at_us: u64,
    /// Bytes of the stage before this piece, over both streams.
    pub offset: u64,
    /// Index into the plan's stages.
    pub stage: u8,
    /// The pipe that the piece came from.
    pub stream: Stream,
    /// The bytes as they were written.
    pub bytes: Vec<u8>,
}

/// Bytes of an [`Output`] before the output itself.
pub const OUTPUT_HEADER: usize = 18;

impl Output {
    /// Appends the binary form to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Self::encode_parts(self.at_us, self.offset, self.stage, self.stream, &self.bytes, out);
    }

    /// As [`Output::encode`], for a sender that only borrows the bytes.
    pub fn encode_parts(at_us: u64, offset: u64, stage: u8, stream: Stream, bytes: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&at_us.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.push(stage);
        out.push(match stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        });
        out.extend_from_slice(bytes);
    }

    /// Reads the binary form; `None` if it is too short or names no stream.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (header, bytes) = payload.split_at_checked(OUTPUT_HEADER)?;
        Some(Self {
            at_us: u64::from_le_bytes(header[0..8].try_into().ok()?),
            offset: u64::from_le_bytes(header[8..16].try_into().ok()?),
            stage: header[16],
            stream: match header[17] {
                1 => Stream::Stdout,
                2 => Stream::Stderr,
                _ => return None,
            },
            bytes: bytes.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_has_its_old_form() {
        let plain = ResultsStatus::Missing { reason: None };
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"results":"missing"}"#);
        let closed = ResultsStatus::Missing { reason: Some("closed".to_owned()) };
        for status in [plain, closed] {
            let text = serde_json::to_string(&status).unwrap();
            assert_eq!(serde_json::from_str::<ResultsStatus>(&text).unwrap(), status);
        }
    }

    #[test]
    fn output_survives_its_binary_form() {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let output = Output { at_us: u64::MAX, offset: 1 << 40, stage: 3, stream, bytes: vec![0, 255, b'x'] };
            let mut payload = Vec::new();
            output.encode(&mut payload);
            assert_eq!(payload.len(), OUTPUT_HEADER + 3);
            assert_eq!(Output::decode(&payload), Some(output));
        }
        assert_eq!(Output::decode(&[0; OUTPUT_HEADER - 1]), None);
        assert_eq!(Output::decode(&[9; OUTPUT_HEADER]), None, "no such stream");
    }
}
