//! The raw data of a load or a soak, as files of one folder. `make gate` reads nothing else.
//!
//! | file | content |
//! |---|---|
//! | `head.json` | the host, the programs and the settings |
//! | `phases.json` | when which load was offered |
//! | `faults.json` | when which fault was injected |
//! | `runs.ndjson` | each submission as the client and the database know it |
//! | `events.ndjson` | each change of state of each run |
//! | `samples.ndjson` | the readings of the sampler |
//! | `violations.json` | what the audit found that the other files do not show: cells side by side, and what was left |

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use assize_domain::run::Class;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::audit::Violation;
use super::history::Event;

/// The largest file of a recording that is read, in bytes: a day of 100,000 runs stays below it.
const MAX_BYTES: u64 = 2 << 30;

/// The longest line of a file, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// The files of a recording, in the order in which a report names them.
pub const FILES: [&str; 7] =
    ["head.json", "phases.json", "faults.json", "runs.ndjson", "events.ndjson", "samples.ndjson", "violations.json"];

/// The host, the programs and the settings of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// `load` or `soak`.
    pub command: String,
    pub begun_at: DateTime<Utc>,
    pub ended_at: DateTime<Utc>,
    pub seed: u64,
    pub host: Host,
    /// The commit of the source, and whether files differed from it.
    pub commit: String,
    /// The SHA-256 of each program, by its name.
    pub programs: BTreeMap<String, String>,
    /// The settings of the installation, without secrets.
    pub settings: BTreeMap<String, String>,
    /// The templates of the load by class. `synthetic` in a name says that no real template of this class was there.
    pub templates: BTreeMap<Class, String>,
    /// The slots of all workers together.
    pub slots: u32,
    /// The time between two samples, in seconds.
    pub sample_s: f64,
    /// What else is to be known, each as a sentence.
    pub notes: Vec<String>,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub cpus: u64,
    pub cpu_model: String,
    pub memory_mib: u64,
    pub kernel: String,
    pub engine: String,
    pub cgroups: String,
    pub postgres: String,
    pub file_system: String,
}

/// How submissions arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// The next one follows the end of one: a fixed number is in flight.
    Closed,
    /// By a schedule that does not wait for ends.
    Open,
}

/// A part of a recording with one kind of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub arrivals: Arrivals,
    /// The number of evaluations in flight: queued and active.
    pub in_flight: u64,
    pub from: DateTime<Utc>,
    /// The end of the ramp.
    pub measured_from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    /// The scheduled arrivals per second, if arrivals are open.
    pub rate: Option<f64>,
    /// The scheduled arrivals that were not sent, because too many were in flight.
    pub unsent: u64,
}

impl Phase {
    /// Returns the length of the measured part in seconds.
    pub fn measured_s(&self) -> f64 {
        (self.until - self.measured_from).as_seconds_f64()
    }

    /// Returns whether a moment is in the measured part.
    pub fn measures(&self, at: DateTime<Utc>) -> bool {
        (self.measured_from..self.until).contains(&at)
    }
}

/// A fault that was injected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InjectedFault {
    pub kind: String,
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub note: String,
}

/// A submission and its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    pub number: u64,
    /// The run in the 202 response.
    pub run: Option<Uuid>,
    pub class: Option<Class>,
    pub template: String,
    pub project: String,
    /// When the schedule had the submission, and when the client began to send it.
    pub intended_at: DateTime<Utc>,
    pub sent_at: DateTime<Utc>,
    /// When the client had the 202, and when it saw the end.
    pub accepted_at: Option<DateTime<Utc>>,
    pub seen_end_at: Option<DateTime<Utc>>,
    /// What the client was first told about the start of its run.
    pub estimate: Option<Estimate>,
    pub cancel_asked: bool,
    /// The row at the end, if there is one.
    pub end: Option<End>,
}

/// The row of a run at the end of the recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub status: String,
    pub cause: Option<String>,
    pub code: Option<String>,
    /// The stage that the run was in.
    pub stage: Option<String>,
    pub attempt: i32,
    pub score: Option<f64>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Whether the outcome is the project's.
    pub is_expected: bool,
}

/// An estimated start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub asked_at: DateTime<Utc>,
    /// `queue.estimated_start` and `queue.waiting_for` of the run.
    pub start: Option<DateTime<Utc>>,
    pub waiting_for: String,
}

/// The readings of one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: DateTime<Utc>,
    /// A reading that failed is absent.
    pub values: BTreeMap<String, f64>,
}

impl Sample {
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}

/// Everything that a load or a soak recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    pub head: Head,
    pub phases: Vec<Phase>,
    pub faults: Vec<InjectedFault>,
    pub runs: Vec<RunRecord>,
    pub events: Vec<Event>,
    pub samples: Vec<Sample>,
    pub violations: Vec<Violation>,
}

impl Recording {
    /// Reads a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let [head, phases, faults, runs, events, samples, violations] = FILES.map(|name| folder.join(name));
        Ok(Self {
            head: whole(&head)?,
            phases: whole(&phases)?,
            faults: whole(&faults)?,
            runs: lines(&runs)?,
            events: lines(&events)?,
            samples: lines(&samples)?,
            violations: whole(&violations)?,
        })
    }

    /// Writes a folder, which is created if it does not exist.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let [head, phases, faults, runs, events, samples, violations] = FILES.map(|name| folder.join(name));
        std::fs::create_dir_all(folder)?;
        write_whole(&head, &self.head)?;
        write_whole(&phases, &self.phases)?;
        write_whole(&faults, &self.faults)?;
        write_lines(&runs, &self.runs)?;
        write_lines(&events, &self.events)?;
        write_lines(&samples, &self.samples)?;
        write_whole(&violations, &self.violations)
    }

    /// Returns whether a moment is in a fault or at most `recovery_s` after one.
    pub fn is_disturbed(&self, at: DateTime<Utc>, recovery_s: f64) -> bool {
        let after = |fault: &InjectedFault| (at - fault.until).as_seconds_f64();
        self.faults.iter().any(|fault| at >= fault.from && after(fault) <= recovery_s)
    }

    /// Returns the wall time of the recording, in seconds.
    pub fn wall_s(&self) -> f64 {
        (self.head.ended_at - self.head.begun_at).as_seconds_f64()
    }
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let advice = "give the result folder of `make load` or `make soak`";
    let file = File::open(path).with_context(|| format!("cannot read {}; {advice}", path.display()))?;
    let bytes = file.metadata()?.len();
    ensure!(bytes <= MAX_BYTES, "{} has {bytes} bytes, the limit is {MAX_BYTES}; {advice}", path.display());
    Ok(BufReader::new(file))
}

fn whole<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_reader(open(path)?).with_context(|| format!("{} is not as it was recorded", path.display()))
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let mut file = open(path)?;
    let (mut all, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(all);
        }
        let read = serde_json::from_slice(&line);
        all.push(read.with_context(|| format!("{}: line {} is not as recorded", path.display(), all.len() + 1))?);
    }
}

fn write_whole<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    serde_json::to_writer_pretty(&mut file, value)?;
    Ok(writeln!(file).and_then(|()| file.flush())?)
}

fn write_lines<T: Serialize>(path: &Path, values: &[T]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    for value in values {
        serde_json::to_writer(&mut file, value)?;
        writeln!(file)?;
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::fixture;

    #[test]
    fn a_recording_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let recording = fixture::recording();
        recording.write(folder.path()).unwrap();
        assert!(Recording::read(folder.path()).unwrap() == recording);
    }

    #[test]
    fn a_file_that_is_missing_or_cut_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fixture::recording().write(folder.path()).unwrap();
        let samples = folder.path().join("samples.ndjson");
        let bytes = std::fs::read(&samples).unwrap();
        std::fs::write(&samples, &bytes[..bytes.len() - 9]).unwrap();
        assert!(Recording::read(folder.path()).unwrap_err().to_string().contains("samples.ndjson: line"));
        std::fs::remove_file(&samples).unwrap();
        let error = Recording::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("samples.ndjson") && error.contains("make soak"), "{error}");
    }
}
