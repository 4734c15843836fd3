//! Loading the templates anew while the worker runs.

use std::collections::BTreeSet;

use tokio::sync::Notify;

use super::{Worker, startup_checks};
use crate::template::Template;

/// Loads the templates anew whenever somebody asks for it. A template is refused if it cannot be used here, for the
/// reasons for which a worker would not start with it.
pub async fn reload_on_request(worker: &Worker, reloads: &Notify) {
    // The limits of cells were tried with these runtimes when the worker started.
    let tried: BTreeSet<Option<String>> =
        worker.templates.current().iter().map(|template| template.runtime.clone()).collect();
    loop {
        reloads.notified().await;
        let templates = worker.templates.clone();
        let read = tokio::task::spawn_blocking(move || templates.read_again()).await;
        let mut reload = match read.map_err(anyhow::Error::from).and_then(|read| Ok(read?)) {
            Ok(reload) => reload,
            Err(error) => {
                tracing::error!(%error, "the templates were not loaded anew; all stay as they were");
                continue;
            }
        };
        for template in reload.changed() {
            if let Err(error) = check(worker, &template, &tried).await {
                reload.refuse(&template.name, error.to_string());
            }
        }
        worker.templates.take_into_use(reload);
    }
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
