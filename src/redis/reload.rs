//! The request that processes load their templates anew, and their answers.
//!
//! A request goes to the channel of one kind of process. Each process that hears it answers on a channel of the
//! request's own, so that whoever asked can tell when all have finished.

use std::time::Duration;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Redis, RedisError};

/// The longest reason of a refused template that an answer holds, in bytes.
const MAX_REASON: usize = 2000;

/// The most refused templates that an answer names.
const MAX_REFUSED: usize = 200;

/// The kind of a process that has templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessKind {
    /// A process that serves the API.
    Api,
    /// A worker.
    Worker,
}

impl ProcessKind {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
        }
    }
}

/// What came of loading the templates anew in one process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The process: its host name and process id.
    pub process: String,
    /// The names of the templates that are in use in a version that was not in use before.
    pub loaded: Vec<String>,
    /// The templates that were refused.
    pub refused: Vec<RefusedTemplate>,
    /// Why no template was loaded at all; absent if they were.
    pub error: Option<String>,
}

/// A template whose latest version cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTemplate {
    /// The name of the template.
    pub name: String,
    /// The reason, as the process logs it.
    pub reason: String,
}

impl ReloadReport {
    /// Cuts the report to a size that is bounded whatever the templates are.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.refused.truncate(MAX_REFUSED);
        for RefusedTemplate { reason, .. } in &mut self.refused {
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
        }
        self
    }
}

impl Redis {
    /// Asks every process of this kind to load its templates anew, and returns the answers that came within `timeout`,
    /// and how many processes did not answer.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn request_reload(
        &self,
        kind: ProcessKind,
        timeout: Duration,
    ) -> Result<(Vec<ReloadReport>, usize), RedisError> {
        let request = Uuid::now_v7();
        let channel = self.reload_answers(request);
        let connect = async {
            let mut listener = self.client.get_async_pubsub().await?;
            listener.subscribe(&channel).await?;
            Ok(listener)
        };
        let listener = super::bounded(connect).await?;
        let mut asked = redis::cmd("PUBLISH");
        asked.arg(self.reload_requests(kind)).arg(request.to_string());
        let asked = self.call::<usize>(&asked).await?;
        let mut messages = listener.into_on_message();
        let mut reports = Vec::new();
        let collect = async {
            while reports.len() < asked {
                let Some(message) = messages.next().await else { break };
                let text = message.get_payload::<String>().unwrap_or_default();
                if let Ok(report) = serde_json::from_str::<ReloadReport>(&text) {
                    reports.push(report);
                }
            }
        };
        // The answers that are missing are counted.
        tokio::time::timeout(timeout, collect).await.ok();
        let missing = asked - reports.len();
        Ok((reports, missing))
    }

    /// Answers a request to load the templates anew.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn answer_reload(&self, request: Uuid, report: &ReloadReport) -> Result<(), RedisError> {
        let text = serde_json::to_string(report).map_err(|error| RedisError(error.to_string()))?;
        self.call::<()>(redis::cmd("PUBLISH").arg(self.reload_answers(request)).arg(text)).await
    }

    pub(super) fn reload_requests(&self, kind: ProcessKind) -> String {
        format!("{}:reload:{}", self.prefix, kind.as_str())
    }

    fn reload_answers(&self, request: Uuid) -> String {
        format!("{}:reloaded:{request}", self.prefix)
    }
}

/// A request to load the templates anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadRequest {
    /// By SIGHUP: the log is the answer.
    Signal,
    /// Through Redis, with the id of the request.
    Command(Uuid),
}

/// The receiving end of the requests that come through Redis.
#[derive(Debug, Clone)]
pub struct ReloadListener {
    /// The kind of this process.
    pub kind: ProcessKind,
    /// The queue of requests.
    pub requests: mpsc::Sender<ReloadRequest>,
}

impl ReloadListener {
    pub(super) fn requested(&self, id: Uuid) {
        // A full queue drops the request, and whoever asked counts this process as missing.
        self.requests.try_send(ReloadRequest::Command(id)).ok();
    }
}

/// The most requests that wait. One more is dropped: each of those before it reads the same templates.
const MAX_WAITING: usize = 16;

/// Returns both ends of the queue of requests.
#[must_use]
pub fn reload_queue() -> (mpsc::Sender<ReloadRequest>, mpsc::Receiver<ReloadRequest>) {
    mpsc::channel(MAX_WAITING)
}
