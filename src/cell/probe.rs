//! Whether the limits of a cell hold here: a cell that tries them, from inside.
//!
//! The cell is made exactly as a run's would be, in a berth; only its command differs. The warden
//! in it goes up to each wall and a bit further, and says what it found.

use std::time::Duration;

use bollard::container::LogOutput;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::berth::BERTH_IMAGE;
use super::counters::Cgroups;
use super::engine::{Engine, EngineError};
use super::spec::{CellSpec, Role, berth_body};
use crate::template::Limits;

/// The longest that one probe may take: filling a workspace of some GiB takes seconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);

/// Open files per process; the limit that [`super::spec`] sets for every cell.
const OPEN_FILES: u64 = 4096;

/// Of what a probe writes, in bytes.
const MAX_SAID: usize = 256 * 1024;

/// What one check inside the cell found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub check: String,
    pub ok: bool,
    pub seen: String,
    pub limit: String,
}

/// What a probe came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub findings: Vec<Finding>,
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
    limits: Limits,
) -> Result<Probed, EngineError> {
    let run_id = Uuid::now_v7();
    let name = format!("{}-berth-{}", engine.instance, run_id.simple());
    let berth = engine.launch_detached(&name, berth_body(engine, worker, BERTH_IMAGE)).await?;
    let spec = CellSpec {
        run_id,
        attempt: 1,
        worker,
        role: Role::Subject,
        image,
        limits,
        grader_bytes: 0,
        berth: &berth,
        plan: "",
    };
    let probed = in_berth(engine, cgroups, &spec).await;
    let removed = engine.remove(&berth).await;
    let probed = probed?;
    removed.map(|()| probed)
}

async fn in_berth(engine: &Engine, cgroups: &Cgroups, spec: &CellSpec<'_>) -> Result<Probed, EngineError> {
    let mut body = spec.body(engine);
    body.cmd = Some(command(&spec.limits));
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

/// The warden's command line for these limits.
fn command(limits: &Limits) -> Vec<String> {
    let bytes = |mib: u64| mib.saturating_mul(1 << 20).to_string();
    let flags = [
        ("--nofile", OPEN_FILES.to_string()),
        ("--pids", limits.pids.to_string()),
        ("--workspace-bytes", bytes(limits.workspace_mib)),
        ("--workspace-inodes", limits.workspace_inodes.to_string()),
        ("--tmp-bytes", bytes(limits.tmp_mib)),
        ("--cpus", limits.cpus.to_string()),
        ("--memory-mib", limits.memory_mib.to_string()),
    ];
    let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
    std::iter::once("probe".to_owned()).chain(flags).collect()
}

/// The findings among the lines that a probe wrote.
fn findings_in(said: &[u8]) -> Vec<Finding> {
    said.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_of_a_template_is_tried() {
        let limits =
            Limits { cpus: 1.25, memory_mib: 512, pids: 64, workspace_mib: 2, workspace_inodes: 100, tmp_mib: 1 };
        let line = command(&limits).join(" ");
        let expected = "probe --nofile 4096 --pids 64 --workspace-bytes 2097152 --workspace-inodes 100 \
            --tmp-bytes 1048576 --cpus 1.25 --memory-mib 512";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_that_is_no_finding_does_not_discard_the_rest() {
        let said = b"noise\n{\"check\":\"pids\",\"ok\":true,\"seen\":\"64\",\"limit\":\"64\"}\n{\"check\":\"cut";
        let findings = findings_in(said);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].ok && findings[0].check == "pids");
    }
}
