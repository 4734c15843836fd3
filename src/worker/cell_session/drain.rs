//! The end of a cell whose part in the run is over: a service whose driver is done, or a cell in which a stage failed.

use std::time::Duration;

use assize_cell::Event;

use super::CellSession;
use super::deadline::{self, STOP_TIMEOUT};
use super::phase::Phase;
use crate::worker::attempt::Attempt;
use crate::worker::stop::Stop;

/// How long a service may take to stop. A service that obeys TERM is gone in milliseconds; the verdict does not wait
/// for others, unless they hand out files.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

impl CellSession {
    /// Asks the cell to stop and receives the rest of its events for up to [`DRAIN_TIMEOUT`]: the last of its output,
    /// and how the service ended if it had ended by itself. A cell that hands out files has the time for it as well.
    pub async fn stop_and_drain(&mut self, attempt: &mut Attempt<'_>) {
        if self.stdin.is_open() {
            self.phase = Phase::Stopping;
            self.stdin.finish();
        } else if !self.hands_out() {
            return;
        }
        self.drain(attempt).await;
    }

    /// Receives the artifacts of a cell in which a stage has failed.
    pub async fn drain_after_failure(&mut self, attempt: &mut Attempt<'_>) {
        if self.hands_out() && self.observed.has_failed {
            self.drain(attempt).await;
        }
    }

    async fn drain(&mut self, attempt: &mut Attempt<'_>) {
        let timeout = if self.hands_out() {
            deadline::grace(&self.plan) + deadline::hand_out(&self.plan) + STOP_TIMEOUT
        } else {
            DRAIN_TIMEOUT
        };
        let cancelled = self.cancelled.clone();
        let has_ended = tokio::select! {
            ended = tokio::time::timeout(timeout, self.receive_rest(attempt)) => matches!(ended, Ok(Some(()))),
            () = cancelled.cancelled() => false,
        };
        if self.hands_out() && !has_ended {
            self.cut_off_artifacts(attempt);
        }
    }

    /// Receives events until the end of the cell. `None` if the stream ended before.
    async fn receive_rest(&mut self, attempt: &mut Attempt<'_>) -> Option<()> {
        loop {
            let event = match self.output.next().await {
                Ok(event) => event,
                Err(error) if self.hands_out() => {
                    self.reconnect(attempt, error).await.ok()?;
                    continue;
                }
                Err(_) => return None,
            };
            match event {
                Event::Output(output) => self.log_output(attempt, output).ok()?,
                Event::StageEnded(ended) => {
                    // This failure does not replace a report of the driver, but it may explain a missing one.
                    if let Err(Stop::Failed(failure)) = self.stage_ended(attempt, ended).await {
                        self.observed.went_down = Some(failure);
                    }
                }
                Event::ArtifactStarted(started) => self.begin_artifact(attempt, started).ok()?,
                Event::Artifact(piece) => self.receive_artifact(attempt, &piece).await.ok()?,
                Event::ArtifactEnded(ended) => attempt.artifacts.finish(ended).await.ok()?,
                Event::End(end) => {
                    self.end_artifacts(attempt, end.artifacts);
                    return Some(());
                }
                _ => {}
            }
        }
    }
}
