//! Loading the templates anew while the worker runs.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::{Worker, startup_checks};
use crate::redis::ReloadRequest;
use crate::template::reload::{finish, read_again};
use crate::template::{Reload, Template};

/// Loads the templates anew whenever somebody asks for it. A template is refused if it cannot be used here, for the
/// reasons for which a worker would not start with it.
pub async fn reload_on_request(worker: &Worker, mut requests: mpsc::Receiver<ReloadRequest>) {
    // The limits of cells were tried with these runtimes when the worker started.
    let tried: BTreeSet<Option<String>> =
        worker.templates.current().iter().map(|template| template.runtime.clone()).collect();
    while let Some(request) = requests.recv().await {
        let read = match read_again(&worker.templates).await {
            Ok(reload) => Ok(checked(worker, reload, &tried).await),
            Err(error) => Err(error),
        };
        finish(&worker.templates, &worker.redis, &worker.id, request, read).await;
    }
}

/// Refuses what cannot be used here.
async fn checked(worker: &Worker, mut reload: Reload, tried: &BTreeSet<Option<String>>) -> Reload {
    for template in reload.changed() {
        if let Err(error) = check(worker, &template, tried).await {
            reload.refuse(&template.name, error.to_string());
        }
    }
    reload
}

async fn check(worker: &Worker, template: &Template, tried: &BTreeSet<Option<String>>) -> anyhow::Result<()> {
    startup_checks::check_memory(template, worker.slice.totals.memory >> 20)?;
    if template.runtime.is_some() && !tried.contains(&template.runtime) {
        let runtime = template.runtime.as_deref().unwrap_or_default();
        anyhow::bail!("the limits of cells were not tried with the runtime {runtime}; start the worker again");
    }
    worker.engine.check_image(&template.image).await?;
    if let Some(driver) = &template.driver {
        worker.engine.check_image(&driver.image).await?;
    }
    Ok(())
}
