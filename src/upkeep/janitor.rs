//! Containers that an earlier worker left behind.
//!
//! A container names its worker, and a worker's name holds its host, pid and start time: whether it
//! still lives can be read off `/proc`. Only containers with our instance label are ever looked at.

use crate::cell::spec::LABEL_WORKER;
use crate::cell::{Engine, EngineError};

/// A name for this process that no other process has had: host, pid, start time.
#[must_use]
pub fn worker_id() -> String {
    let pid = std::process::id();
    format!("{}-{pid}-{}", host_name(), start_time(&pid.to_string()).unwrap_or_default())
}

/// Removes every container of ours whose worker is gone. How many there were.
///
/// # Errors
/// [`EngineError`] if the engine did not list them or did not remove one.
pub async fn sweep(engine: &Engine, me: &str) -> Result<usize, EngineError> {
    let left: Vec<_> = engine
        .ours()
        .await?
        .into_iter()
        .filter(|container| {
            let worker = container.labels.as_ref().and_then(|labels| labels.get(LABEL_WORKER));
            worker.is_none_or(|worker| worker != me && !is_alive(worker))
        })
        .filter_map(|container| container.id)
        .collect();
    for id in &left {
        engine.remove(id).await?;
    }
    if !left.is_empty() {
        tracing::info!(containers = left.len(), "removed what an earlier worker left");
    }
    Ok(left.len())
}

/// Whether the process of this name runs. A worker of another host cannot be asked and counts as
/// alive.
fn is_alive(worker: &str) -> bool {
    let mut parts = worker.rsplitn(3, '-');
    let (Some(started), Some(pid), Some(host)) = (parts.next(), parts.next(), parts.next()) else { return false };
    host != host_name() || start_time(pid).is_some_and(|seen| seen == started)
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// In clock ticks since boot: the 22nd field of `stat`, the 20th after the name in parentheses.
fn start_time(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_that_started_at_another_time_does_not() {
        let me = worker_id();
        assert!(is_alive(&me));
        let (name, started) = me.rsplit_once('-').unwrap();
        assert!(!is_alive(&format!("{name}-{}", started.parse::<u64>().unwrap() + 1)));
        assert!(!is_alive("nonsense"));
    }
}
