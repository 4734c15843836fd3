//! Containers that an earlier worker left behind.
//!
//! A container names its worker. Only containers with our instance label are ever looked at.

use super::process::{Fate, fate};
use bollard::models::ContainerSummary;

use crate::cell::berth::berth_of;
use crate::cell::spec::{LABEL_ATTEMPT, LABEL_RUN, LABEL_WORKER};
use crate::cell::{Engine, EngineError};

/// Removes every container of ours whose worker is gone, except the cells of attempts that still live
/// (`is_live`) and the berths that those are in. How many there were.
///
/// # Errors
/// [`EngineError`] if the engine did not list them or did not remove one.
pub async fn sweep(engine: &Engine, is_live: impl Fn(&str, &str) -> bool) -> Result<usize, EngineError> {
    let ours = engine.ours().await?;
    let label = |container: &ContainerSummary, name: &str| {
        container.labels.as_ref().and_then(|labels| labels.get(name)).cloned().unwrap_or_default()
    };
    let lives = |container: &&ContainerSummary| {
        fate(&label(container, LABEL_WORKER)) != Fate::Dead
            || is_live(&label(container, LABEL_RUN), &label(container, LABEL_ATTEMPT))
    };
    let used: Vec<&str> = ours.iter().filter(lives).filter_map(berth_of).collect();
    let left = ours.iter().filter(|container| !lives(container)).filter_map(|container| container.id.as_deref());
    let left: Vec<&str> = left.filter(|id| !used.contains(id)).collect();
    for id in &left {
        engine.remove(id).await?;
    }
    if !left.is_empty() {
        tracing::info!(containers = left.len(), "removed what an earlier worker left");
    }
    Ok(left.len())
}
