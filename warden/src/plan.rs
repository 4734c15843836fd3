//! What the worker asks of a warden: one [`Plan`] per cell, sent as the first frames.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the protocol; a warden refuses a plan of another one.
pub const VERSION: u16 = 1;

/// The longest plan in bytes.
pub const MAX_PLAN: usize = 256 * 1024;

/// Everything that one cell does, in order: receive and unpack every input, run every stage,
/// stop everything, read the results, report.
///
/// Stages run one after another; the first that fails ends the plan. A stage with `ready` is a
/// service: it keeps running behind the stages that follow. When the last stage is a service, the
/// warden waits for a `Finish` frame (or for the service to die).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub version: u16,
    /// Archives to expect, in this order.
    pub inputs: Vec<Input>,
    pub stages: Vec<Stage>,
    /// From the receipt of the plan to the end of the last stage, in ms.
    pub global_timeout_ms: u64,
    /// Between TERM and KILL, in ms.
    pub grace_ms: u64,
    /// The file to read when every process is gone.
    pub results: Option<ResultsFile>,
    /// Mount points to look at when a stage has failed: a full one is named in its report.
    pub disks: Vec<String>,
}

/// One zip archive and the folder that it is unpacked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// An absolute folder that exists and is writable.
    pub into: String,
    /// The archive itself, in bytes.
    pub max_archive_bytes: u64,
    /// Files and folders.
    pub max_entries: u64,
    /// All files together, unpacked, in bytes.
    pub max_bytes: u64,
}

/// One command with its own time limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    pub name: String,
    /// The program and its arguments; no shell unless it names one.
    pub command: Vec<String>,
    pub cwd: String,
    /// The whole environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Until it exits or, for a service, until it is ready; in ms.
    pub timeout_ms: u64,
    pub output: OutputLimits,
    /// Present on a service.
    pub ready: Option<Ready>,
}

/// What is kept of a stage's stdout and stderr together, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputLimits {
    /// Sent as it comes.
    pub head: u64,
    /// Of what comes after the head, the last bytes, sent when the stage ends.
    pub tail: u64,
    /// The stage is killed when it has written more than this.
    pub limit: u64,
}

/// How a service shows that it is up: a TCP connection to `127.0.0.1:port`, and, if `http` is
/// set, any HTTP answer to `GET http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    pub port: u16,
    pub http: Option<String>,
}

/// A file to hand to the worker: a plain file, opened without following links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultsFile {
    pub path: String,
    pub max_bytes: u64,
}
