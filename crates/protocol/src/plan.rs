//! What the worker asks of a warden: one [`Plan`] per cell, sent as the first frames.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::artifacts::ArtifactRules;
use crate::content::Content;
use crate::exec::{ExecClient, ExecService};
use crate::names::NameRules;
use crate::results::ResultsPath;

/// How long a stage has between SIGTERM and SIGKILL, in ms: long enough to write a report, short enough for whoever waits.
pub const GRACE_MS: u64 = 2_000;

/// The version of the protocol; a warden refuses a plan of another one.
pub const VERSION: u16 = 7;

/// The longest plan in bytes.
pub const MAX_PLAN: usize = 256 * 1024;

/// Everything that one cell does, in order: receive every input, unpack those that no stage must come before,
/// run every stage, stop everything, read the results, hand out the artifacts, report.
///
/// Stages run one after another; the first that fails ends the plan. A stage with `ready` is a
/// service: it keeps running behind the stages that follow. When the last stage is a service, the
/// warden waits for a `Finish` frame (or for the service to die).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of the protocol: [`VERSION`].
    pub version: u16,
    /// Archives to expect, in this order.
    pub inputs: Vec<Input>,
    /// The stages in the order in which they run, at most [`MAX_STAGES`].
    pub stages: Vec<Stage>,
    /// From the receipt of the plan to the end of the last stage, in ms.
    pub global_timeout_ms: u64,
    /// Between TERM and KILL, in ms.
    pub grace_ms: u64,
    /// The files to read when every process is gone.
    pub results: Option<ResultsFile>,
    /// The files to hand out after that.
    #[serde(default)]
    pub artifacts: Option<ArtifactRules>,
    /// Mount points to look at when a stage has failed: a full one is named in its report. Before each stage
    /// their owner may use them again, whatever a stage before has made of their modes.
    pub disks: Vec<String>,
    /// Folders beneath which stages may write, as far as the kernel can hold them to that; empty: wherever file
    /// systems and modes let them.
    #[serde(default)]
    pub writable: Vec<String>,
    /// Present if the stages may call programs of another cell.
    #[serde(default)]
    pub exec: Option<ExecClient>,
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
    /// What no file may be by its first bytes.
    #[serde(default)]
    pub deny_content: Vec<Content>,
    /// How the names of a project's archive are read, and what of it is ignored. Absent for an archive that this service
    /// made: all of it is unpacked under its own names.
    #[serde(default)]
    pub names: Option<NameRules>,
    /// The index of the stage before which it is unpacked, when nothing of the stages before that one lives: they
    /// see nothing of it. Absent: before the first.
    #[serde(default)]
    pub before: Option<u8>,
}

/// One command with its own time limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Name of the stage, for messages.
    pub name: String,
    /// The program and its arguments; no shell unless it names one.
    pub command: Vec<String>,
    /// Working folder of the stage.
    pub cwd: String,
    /// The whole environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Until it exits or, for a service, until it is ready; in ms.
    pub timeout_ms: u64,
    /// How much of the stage's output is kept.
    pub output: OutputLimits,
    /// Present on a service.
    pub ready: Option<Ready>,
    /// Present if it may ask for connections: the proxy is there as long as the stage.
    #[serde(default)]
    pub egress: Option<Egress>,
    /// Present if it gets a new folder of its own.
    #[serde(default)]
    pub scratch: Option<Scratch>,
    /// Present on a stage that serves calls instead of running a command: the last one, a service of the warden itself.
    #[serde(default)]
    pub exec: Option<ExecService>,
    /// Whether its processes may report the end of each test: [`crate::progress`].
    #[serde(default)]
    pub progress: bool,
}

/// A folder that the warden makes right before a stage, under a name that nobody could know: no stage before has
/// left anything in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scratch {
    /// The folder that it is made in.
    pub into: String,
    /// The environment variables that name it.
    pub variables: Vec<String>,
}

/// The proxy of a stage. What it may reach the worker decides, not the warden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// On the loopback of the cell: [`crate::egress::PROXY_PORT`].
    pub port: u16,
    /// What its frames may add to the journal, as [`crate::egress`] counts.
    pub journal_bytes: u64,
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
    /// Port of the loopback on which the service listens.
    pub port: u16,
    /// Path of an HTTP request that must succeed; absent: an accepted connection is enough.
    pub http: Option<String>,
}

/// The files to hand to the worker: plain files, opened without following links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultsFile {
    /// Path of the file in the cell, or a pattern: [`crate::results::ResultsPath`].
    pub path: String,
    /// Bytes that are read of all files together.
    pub max_bytes: u64,
}

/// The most stages and inputs that a plan may have; their indexes travel as one byte.
pub const MAX_STAGES: usize = 64;
/// Inputs of one plan: the index of an input travels in one byte, and no template has more than three.
pub const MAX_INPUTS: usize = 16;

#[derive(Deserialize)]
struct AnyVersion {
    version: u16,
}

impl Plan {
    /// Reads a plan and checks it.
    ///
    /// # Errors
    /// What is wrong, in words for the log of the worker that sent it. The version is looked at
    /// first: a plan of another version may well be unreadable.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_PLAN {
            return Err(format!("the plan has {} bytes, the limit is {MAX_PLAN}", bytes.len()));
        }
        let AnyVersion { version } =
            serde_json::from_slice(bytes).map_err(|error| format!("the plan cannot be read: {error}"))?;
        if version != VERSION {
            return Err(format!(
                "the plan is of version {version}, this warden speaks {VERSION}: install both from one build"
            ));
        }
        let plan: Self = serde_json::from_slice(bytes).map_err(|error| format!("the plan cannot be read: {error}"))?;
        plan.check()?;
        Ok(plan)
    }

    /// What must hold of a plan beyond its shape.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), String> {
        if self.stages.len() > MAX_STAGES {
            return Err(format!("the plan has {} stages, the limit is {MAX_STAGES}", self.stages.len()));
        }
        if self.inputs.len() > MAX_INPUTS {
            return Err(format!("the plan has {} inputs, the limit is {MAX_INPUTS}", self.inputs.len()));
        }
        for (index, input) in self.inputs.iter().enumerate() {
            require_absolute(&format!("`into` of input {index}"), &input.into)?;
            self.check_before(index, input)?;
            if let Some(names) = &input.names {
                names.check().map_err(|reason| format!("input {index}: {reason}"))?;
            }
        }
        for folder in &self.writable {
            require_absolute("a folder of `writable`", folder)?;
        }
        for stage in &self.stages {
            stage.check()?;
        }
        self.check_exec()?;
        if let Some(results) = &self.results {
            require_absolute("the path of the results", &results.path)?;
            ResultsPath::parse(&results.path).map_err(|why| format!("the path of the results: {why}"))?;
        }
        if let Some(artifacts) = &self.artifacts {
            artifacts.check().map_err(|why| format!("the artifacts: {why}"))?;
        }
        Ok(())
    }

    /// A call must meet no process of a stage, so nothing may run beside a stage that serves calls.
    fn check_exec(&self) -> Result<(), String> {
        if let Some(client) = &self.exec {
            require_absolute("the folder of `exec`", &client.folder)?;
        }
        let Some(at) = self.stages.iter().position(|stage| stage.exec.is_some()) else { return Ok(()) };
        if at + 1 < self.stages.len() {
            return Err(format!("stage {at} serves calls, it must be the last of {} stages", self.stages.len()));
        }
        match self.stages.iter().find(|stage| stage.ready.is_some()) {
            Some(service) => {
                Err(format!("stage {at} serves calls, the service {} must not run beside it", service.name))
            }
            None => Ok(()),
        }
    }

    /// A service lives on behind the stages that follow, so nothing can be kept from it.
    fn check_before(&self, index: usize, input: &Input) -> Result<(), String> {
        let Some(before) = input.before else { return Ok(()) };
        let Some(earlier) = self.stages.get(..usize::from(before)).filter(|_| usize::from(before) < self.stages.len())
        else {
            let count = self.stages.len();
            return Err(format!("input {index} is due before stage {before}, and there are {count} stages"));
        };
        match earlier.iter().find(|stage| stage.ready.is_some()) {
            Some(service) => {
                let service = &service.name;
                Err(format!("input {index} is due before stage {before}, when the service {service} already runs"))
            }
            None => Ok(()),
        }
    }
}

impl Stage {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if self.exec.is_none() && self.command.first().is_none_or(String::is_empty) {
            return Err(format!("stage {name}: the command names no program"));
        }
        if self.command.iter().any(|word| word.contains('\0')) {
            return Err(format!("stage {name}: the command contains a NUL"));
        }
        require_absolute(&format!("`cwd` of stage {name}"), &self.cwd)?;
        for (key, value) in &self.env {
            if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!("stage {name}: {key:?} cannot be an environment variable"));
            }
        }
        if let Some(scratch) = &self.scratch {
            require_absolute(&format!("`scratch` of stage {name}"), &scratch.into)?;
            if let Some(key) = scratch.variables.iter().find(|key| key.is_empty() || key.contains(['=', '\0'])) {
                return Err(format!("stage {name}: {key:?} cannot be an environment variable"));
            }
        }
        if let Some(path) = self.ready.as_ref().and_then(|ready| ready.http.as_ref())
            && !(path.starts_with('/') && path.len() <= 2048 && path.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(format!(
                "stage {name}: {path:?} cannot be requested; it must begin with `/` and be printable ASCII, at most 2048 bytes"
            ));
        }
        Ok(())
    }
}

fn require_absolute(what: &str, path: &str) -> Result<(), String> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(());
    }
    Err(format!("{what} is {path:?}, an absolute path is needed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_serves_calls_is_the_last_and_alone() {
        let full = Plan::parse(include_bytes!("../../../fuzz/seeds/plan/full")).unwrap();
        let exec = Some(ExecService { port: 1, fresh: None });
        let [first, service] = [full.stages[0].clone(), full.stages[1].clone()];
        let calls = Stage { command: vec![], exec, ..first.clone() };
        let checked = |stages: &[&Stage]| {
            let stages = stages.iter().copied().cloned().collect();
            Plan { inputs: vec![], stages, ..full.clone() }.check()
        };
        assert_eq!(checked(&[&first, &calls]), Ok(()));
        assert_eq!(checked(&[&calls]), Ok(()));
        assert!(checked(&[&calls, &first]).unwrap_err().contains("must be the last of 2"));
        assert!(checked(&[&service, &calls]).unwrap_err().contains("the service start must not run beside it"));
        assert!(checked(&[&Stage { command: vec![], ..first.clone() }]).unwrap_err().contains("names no program"));
    }

    #[test]
    fn what_the_fuzzer_begins_with_are_plans_and_are_the_same_when_written_again() {
        let full = include_bytes!("../../../fuzz/seeds/plan/full").as_slice();
        let empty = include_bytes!("../../../fuzz/seeds/plan/empty").as_slice();
        for seed in [full, empty] {
            let plan = Plan::parse(seed).unwrap();
            let again = serde_json::to_vec(&plan).unwrap();
            assert_eq!(Plan::parse(&again).unwrap(), plan);
        }
        let full = Plan::parse(full).unwrap();
        assert!(full.exec.is_some() && full.artifacts.is_some());
        assert!(full.inputs[1].before.is_some() && full.stages[0].scratch.is_some() && !full.writable.is_empty());
    }
}
