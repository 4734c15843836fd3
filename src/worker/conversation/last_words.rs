//! The end of a service whose driver is done: its last output, and whether it had ended by itself.

use std::time::Duration;

use super::Conversation;
use crate::worker::attempt::{Attempt, Stop};
use assize_cell::Event;

impl Conversation {
    /// Tells the cell to stop and hears it out, for a moment: the last of its output may be waiting.
    pub async fn hear_out(&mut self, attempt: &mut Attempt<'_>) {
        /// A service that obeys TERM is gone in milliseconds; for others the verdict does not wait.
        const MOMENT: Duration = Duration::from_millis(500);
        if !self.stdin.is_open() {
            return;
        }
        self.stdin.finish();
        let last = async {
            while let Ok(event) = self.output.next().await {
                match event {
                    Event::Output(output) => {
                        let (stage, _) = self.stage(output.stage).ok()?;
                        attempt.output.push(stage, output);
                    }
                    Event::StageEnded(ended) => {
                        // A verdict that there is stands. One that there is not may be this one's doing.
                        if let Err(Stop::Failed(failure)) = self.stage_ended(attempt, ended).await {
                            self.went_down = Some(failure);
                        }
                    }
                    Event::End(_) => break,
                    _ => {}
                }
            }
            Some(())
        };
        tokio::time::timeout(MOMENT, last).await.ok();
    }
}
