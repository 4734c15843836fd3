//! The end of a service whose driver is done.

use std::time::Duration;

use assize_cell::Event;

use super::CellSession;
use super::phase::Phase;
use crate::worker::attempt::Attempt;
use crate::worker::stop::Stop;

/// How long a service may take to stop. A service that obeys TERM is gone in milliseconds; the verdict does not wait
/// for others.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

impl CellSession {
    /// Asks the cell to stop and receives the rest of its events for up to [`DRAIN_TIMEOUT`]: the last of its output,
    /// and how the service ended if it had ended by itself.
    pub async fn stop_and_drain(&mut self, attempt: &mut Attempt<'_>) {
        if !self.stdin.is_open() {
            return;
        }
        self.phase = Phase::Stopping;
        self.stdin.finish();
        let rest = async {
            while let Ok(event) = self.output.next().await {
                match event {
                    Event::Output(output) => {
                        let (stage, _) = self.stage(output.stage).ok()?;
                        attempt.output.push(stage, output);
                    }
                    Event::StageEnded(ended) => {
                        // This failure does not replace a report of the driver, but it may explain a missing one.
                        if let Err(Stop::Failed(failure)) = self.stage_ended(attempt, ended).await {
                            self.observed.went_down = Some(failure);
                        }
                    }
                    Event::End(_) => break,
                    _ => {}
                }
            }
            Some(())
        };
        tokio::time::timeout(DRAIN_TIMEOUT, rest).await.ok();
    }
}
