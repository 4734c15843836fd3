//! Whether the limits of a cell hold here: a cell that tries them, from inside.
//!
//! The cell is made exactly as a run's would be, in a berth; only its command differs. The warden
//! in it goes up to each wall and a bit further, and says what it found.

use std::collections::BTreeMap;
use std::time::Duration;

use assize_protocol::isolation::{ExpectedIsolation, IsolationCheck};
use bollard::container::LogOutput;
use futures_util::StreamExt;
use uuid::Uuid;

use super::berth::Berth;
use super::call::EngineError;
use super::counters::Cgroups;
use super::engine::Engine;
use super::limits;
use super::spec::{CellSpec, Role, WRITABLE};
use assize_domain::limits::CellLimits;

/// The longest that one probe may take: filling a workspace of some GiB takes seconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// Of what a probe writes, in bytes.
const MAX_SAID: usize = 256 * 1024;

/// Of the grader's folder: enough for an attempt to write to it.
const GRADER_BYTES: u64 = 64 * 1024;

/// Small limits, so that a worker which starts has soon tried each kind. Those of every template, in full
/// size, `assize doctor` tries.
pub const SMALL: CellLimits =
    CellLimits { cpus: 0.5, memory_mib: 48, pids: 24, workspace_mib: 4, workspace_inodes: 100, tmp_mib: 2 };

/// What a probe came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub findings: Vec<IsolationCheck>,
    /// Whether the host could read the kernel's counters of the cell.
    pub counters_readable: bool,
    /// What else it said, and how it ended if that was not in order.
    pub trouble: Option<String>,
}

/// Starts a cell of `image` with `limits`, lets it try them, and removes it.
///
/// # Errors
/// [`EngineError`] if no cell could be made. A limit that does not hold is a finding, not an error.
pub async fn probe(
    engine: &Engine,
    cgroups: &Cgroups,
    worker: &str,
    image: &str,
    limits: CellLimits,
    runtime: Option<&str>,
) -> Result<Probed, EngineError> {
    let run_id = Uuid::now_v7();
    let berth = Berth::launch(engine, worker).await?;
    let place = engine.processors.place(limits.cpus);
    let spec = CellSpec {
        run_id,
        attempt: 1,
        worker,
        role: Role::Subject,
        image,
        limits,
        grader_bytes: GRADER_BYTES,
        artifact_bytes: 0,
        runtime,
        berth: &berth.id,
        plan: "",
        place: place.as_ref(),
    };
    let probed = in_berth(engine, cgroups, &spec).await;
    let removed = engine.remove(&berth.id).await;
    let probed = probed?;
    removed.map(|()| probed)
}

async fn in_berth(engine: &Engine, cgroups: &Cgroups, spec: &CellSpec<'_>) -> Result<Probed, EngineError> {
    let mut body = spec.body(engine);
    body.cmd = Some(vec!["probe".to_owned(), serde_json::to_string(&walls(engine, spec)).unwrap_or_default()]);
    let cell = engine.launch(&spec.name(engine), body, &|| Box::pin(std::future::ready(true))).await?;
    let counters_readable = cgroups.can_read(&cell.id);
    let mut read = cell.output.read;
    let (mut said, mut complaint) = (Vec::new(), Vec::new());
    let listening = async {
        while let Some(Ok(piece)) = read.next().await {
            match piece {
                LogOutput::StdOut { message } if said.len() < MAX_SAID => said.extend_from_slice(&message),
                LogOutput::StdErr { message } if complaint.len() < MAX_SAID => complaint.extend_from_slice(&message),
                _ => {}
            }
        }
    };
    let in_time = tokio::time::timeout(PROBE_TIMEOUT, listening).await.is_ok();
    let ended = engine.inspect(&cell.id).await;
    engine.remove(&cell.id).await?;
    let state = ended?.state.unwrap_or_default();
    let findings = findings_in(&said);
    let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
    // 0 and 1 are the probe's own: all limits held, or one did not.
    let exit = state.exit_code.filter(|code| !matches!(code, 0 | 1));
    let trouble = match (in_time, exit) {
        (false, _) => Some(format!("the probe did not end within {} s", PROBE_TIMEOUT.as_secs())),
        (true, Some(code)) => Some(format!("the probe ended with code {code} {complaint}").trim_end().to_owned()),
        (true, None) if findings.is_empty() => {
            Some(format!("the probe said nothing {complaint}").trim_end().to_owned())
        }
        (true, None) => None,
    };
    Ok(Probed { findings, counters_readable, trouble })
}

/// What a cell of this kind is to hold.
fn walls(engine: &Engine, spec: &CellSpec<'_>) -> ExpectedIsolation {
    let CellLimits { cpus, memory_mib, pids, workspace_mib, workspace_inodes, tmp_mib } = spec.limits;
    let bytes = |mib: u64| mib.saturating_mul(1 << 20);
    ExpectedIsolation {
        pids: Some(pids),
        memory_mib: Some(memory_mib),
        workspace_bytes: Some(bytes(workspace_mib)),
        workspace_inodes: Some(workspace_inodes),
        tmp_bytes: Some(bytes(tmp_mib)),
        shm_bytes: Some(limits::SHM_BYTES),
        cpus: Some(cpus),
        processors: engine.processors.list(spec.place),
        nofile: Some(limits::OPEN_FILES),
        fsize: Some(spec.longest_file()),
        core: Some(0),
        memlock: Some(limits::LOCKED_BYTES),
        msgqueue: Some(limits::QUEUE_BYTES),
        masked: limits::paths(limits::MASKED),
        read_only: limits::paths(limits::READ_ONLY),
        host_namespaces: host_namespaces(),
        apparmor: engine.confinement.expected.clone(),
        writable: limits::paths(&WRITABLE),
    }
}

/// Those of this process: no cell is in any of them.
fn host_namespaces() -> BTreeMap<String, String> {
    let read = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
    let named = |name: &str| Some((name.to_owned(), read(name)?.to_string_lossy().into_owned()));
    ["ipc", "mnt", "net", "pid", "uts"].into_iter().filter_map(named).collect()
}

/// The findings among the lines that a probe wrote.
fn findings_in(said: &[u8]) -> Vec<IsolationCheck> {
    said.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_no_finding_does_not_discard_the_rest() {
        let said = b"noise\n{\"check\":\"pids\",\"ok\":true,\"seen\":\"64\",\"limit\":\"64\"}\n{\"check\":\"cut";
        let findings = findings_in(said);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].ok && findings[0].check == "pids");
    }
}
