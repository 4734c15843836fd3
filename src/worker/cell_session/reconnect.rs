//! A stream that broke: the session resumes the cell from its journal, or finds out why the cell is lost.

use std::time::Duration;

use assize_cell::stream::StreamError;
use assize_cell::{Cell, EngineError};
use assize_domain::run::{Failure, FailureCode};
use assize_observe::metrics;

use super::{CellSession, FailureContext};
use crate::worker::attempt::Attempt;
use crate::worker::stop::Stop;

/// How long the session tries to resume a cell. An engine that restarts takes seconds, and its cells end with it.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two tries.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How long the engine may take to notice that a cell's first process was killed, and why.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

impl CellSession {
    /// Resumes a cell after its stream broke: the cell may be fine, and its journal holds the missed events. If the
    /// stream broke before and no event was received since, the cell is lost.
    pub(super) async fn reconnect(&mut self, attempt: &Attempt<'_>, error: StreamError) -> Result<(), Stop> {
        let received = self.output.heard;
        let may_resume = self.policy.may_resume()
            && matches!(error, StreamError::Broken(_) | StreamError::Ended)
            && self.phase.has_plan()
            && self.last_break.is_none_or(|before| before < received);
        let clock = &attempt.worker.clock;
        let begun = clock.monotonic();
        while clock.since(begun) < RECONNECT_TIMEOUT && may_resume {
            match attempt.worker.engine.resume(&self.id).await {
                Ok((Cell { input, output, .. }, state)) => {
                    tracing::debug!(cell = self.id, received, %error, "the stream of a cell broke and was resumed");
                    (self.output, self.last_break) = (output.after(received), Some(received));
                    self.reopen(clock, input);
                    self.observed.oom_killed |= state.oom_killed;
                    return Ok(());
                }
                Err(EngineError::Unavailable { .. }) => tokio::time::sleep(RETRY_INTERVAL).await,
                Err(_) => break,
            }
        }
        Err(self.lost(attempt, error).await)
    }

    /// Why a cell is lost whose stream ended without a report. The engine may have recorded the reason.
    async fn lost(&mut self, attempt: &Attempt<'_>, error: StreamError) -> Stop {
        let engine = &attempt.worker.engine;
        engine.has_exited(&self.id, EXIT_TIMEOUT).await;
        let state = engine.inspect(&self.id).await.ok().and_then(|container| container.state);
        if state.is_none_or(|state| state.oom_killed != Some(true)) {
            return error.into();
        }
        metrics().oom_kills(1);
        let mib = self.limits.memory_mib;
        if attempt.worker.cgroups.total_hits() > self.observed.total_hits {
            let message = format!("the host had no more memory for all cells, and ended one below its {mib} MiB");
            return Stop::failed(FailureCode::CellLost, message);
        }
        let message = format!("the cell used more than its {mib} MiB of memory and the kernel ended it");
        let context = FailureContext {
            has_run: self.observed.has_run,
            spent: self.spent(),
            ..FailureContext::for_plan(&self.plan)
        };
        Stop::Failed(self.policy.attribute(Failure::new(FailureCode::OutOfMemory, message), &context))
    }
}
