//! A cell that cannot be heard: a stream that broke, a deadline that passed. Its journal is asked before
//! anybody is blamed.

use std::time::Duration;

use super::{Conversation, LAST_WORDS};
use crate::egress::HeardOf;
use crate::worker::attempt::{Attempt, Stop};
use assize_cell::stream::StreamError;
use assize_cell::{Cell, EngineError, Role};
use assize_domain::run::{Failure, FailureCode};
use assize_host::clock;
use assize_observe::metrics;

impl Conversation {
    /// The stream broke, but the cell may be as well as before: its journal has what was missed. A
    /// stream that breaks again before anything new was heard has ended.
    pub(super) async fn broken(&mut self, attempt: &Attempt<'_>, error: StreamError) -> Result<(), Stop> {
        /// An engine that restarts takes seconds, and takes its cells with it.
        const PATIENCE: Duration = Duration::from_secs(10);
        const PAUSE: Duration = Duration::from_millis(500);
        let heard = self.output.heard;
        // The journal of a fetch may have been rotated; nothing of the project is lost with it.
        let may_go_on = self.role != Role::Fetch
            && matches!(error, StreamError::Broken(_) | StreamError::Ended)
            && self.is_delivered
            && self.broke_after.is_none_or(|before| before < heard);
        let begun = clock::monotonic();
        while begun.elapsed() < PATIENCE && may_go_on {
            match attempt.worker.engine.resume(&self.id).await {
                Ok((Cell { input, output, .. }, seen)) => {
                    tracing::debug!(cell = self.id, heard, %error, "the stream of a cell broke and was taken up again");
                    (self.output, self.broke_after) = (output.after(heard), Some(heard));
                    self.enter_again(input);
                    self.oom_killed |= seen.oom_killed;
                    return Ok(());
                }
                Err(EngineError::Unavailable { .. }) => tokio::time::sleep(PAUSE).await,
                Err(_) => break,
            }
        }
        Err(self.lost(attempt, error).await)
    }

    /// The stream ended without a report: the engine may know why.
    async fn lost(&mut self, attempt: &Attempt<'_>, error: StreamError) -> Stop {
        /// A cell whose first process was killed takes the engine a moment to notice, and to say for what.
        const NOTICED: Duration = Duration::from_secs(2);
        let engine = &attempt.worker.engine;
        engine.has_exited(&self.id, NOTICED).await;
        let state = engine.inspect(&self.id).await.ok().and_then(|seen| seen.state);
        if state.is_some_and(|state| state.oom_killed == Some(true)) {
            metrics().oom_kills.inc();
            let mib = self.limits.memory_mib;
            if attempt.worker.cgroups.total_hits() > self.total_hits {
                let message = format!("the host had no more memory for all cells, and ended one below its {mib} MiB");
                return Stop::Failed(Failure::new(FailureCode::CellLost, message));
            }
            let message = format!("the cell used more than its {mib} MiB of memory and the kernel ended it");
            return Stop::Failed(self.blame(Failure::new(FailureCode::OutOfMemory, message), HeardOf::default()));
        }
        error.into()
    }

    /// Our deadline passed and the warden did not say that its own had. Before the project is blamed,
    /// the journal is asked: it may be the stream that is stuck, and not the cell.
    pub(super) async fn overdue(&mut self, attempt: &Attempt<'_>) -> Result<(), Stop> {
        let failed = |code, message: &str| Err(Stop::Failed(Failure::new(code, message)));
        if !self.is_delivered {
            return failed(FailureCode::CellLost, "the cell did not take its project in");
        }
        if self.role == Role::Fetch && self.has_fetched {
            let message = "the repository's archive did not come out of its cell in time; make it smaller";
            return failed(FailureCode::FetchFailed, message);
        }
        if self.role == Role::Fetch {
            return failed(FailureCode::CellLost, "the cell did not stop fetching at its time limit and was destroyed");
        }
        if let Some(code) = self.overdue {
            return failed(code, "the cell did not stop at its time limit and was destroyed");
        }
        let is_global = self.deadline >= self.global;
        self.overdue = Some(if is_global { FailureCode::GlobalTimeout } else { FailureCode::StageTimeout });
        let heard = self.output.heard;
        let (Cell { input, output, .. }, seen) = attempt.worker.engine.resume(&self.id).await?;
        self.output = output.after(heard);
        self.enter_again(input);
        self.oom_killed |= seen.oom_killed;
        self.deadline = clock::monotonic() + LAST_WORDS;
        Ok(())
    }
}
