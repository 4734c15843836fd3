//! A request to load the templates anew, from the reading of the folder to the answer.

use uuid::Uuid;

use super::live::{LiveTemplates, Reload};
use crate::redis::{Redis, RefusedTemplate, ReloadReport, ReloadRequest};

/// Reads the folder of the templates anew, and changes nothing yet.
///
/// # Errors
/// If the folder cannot be read, or has no template.
pub async fn read_again(templates: &LiveTemplates) -> anyhow::Result<Reload> {
    let templates = templates.clone();
    Ok(tokio::task::spawn_blocking(move || templates.read_again()).await??)
}

/// Takes what was read into use, and answers the request.
pub async fn finish(
    templates: &LiveTemplates,
    redis: &Redis,
    process: &str,
    request: ReloadRequest,
    read: anyhow::Result<Reload>,
) {
    let mut report = ReloadReport { process: process.to_owned(), ..ReloadReport::default() };
    match read {
        Ok(reload) => {
            let (loaded, refused) = templates.take_into_use(reload);
            report.loaded = loaded;
            report.refused = refused.into_iter().map(|(name, reason)| RefusedTemplate { name, reason }).collect();
        }
        Err(error) => {
            tracing::error!(%error, "the templates were not loaded anew; all stay as they were");
            report.error = Some(error.to_string());
        }
    }
    if let ReloadRequest::Command(id) = request {
        answer(redis, id, report).await;
    }
}

async fn answer(redis: &Redis, request: Uuid, report: ReloadReport) {
    if let Err(error) = redis.answer_reload(request, &report.bounded()).await {
        tracing::warn!(%error, "whoever asked for the templates to be loaded anew gets no answer");
    }
}
