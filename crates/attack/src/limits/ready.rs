//! Whether the API stays ready during the whole attack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{case, id};
use crate::case::{Case, CaseOutcome};
use crate::context::AttackContext;
use assize_host::clock::Stopwatch;

/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(250);

/// Time limit of one request: the usual timeout of a load balancer's readiness probe.
const LONGEST: Duration = Duration::from_secs(5);

const NAME: &str = "api-ready";

pub(super) fn cases() -> Vec<Case> {
    vec![case(NAME, "asks /readyz four times a second during everything else", "always 200, within 5 s")]
}

/// The observations so far.
#[derive(Debug, Default)]
struct Seen {
    asked: usize,
    slowest: Duration,
    refused: Vec<String>,
}

/// Polls until it is cancelled.
pub struct Poll {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Seen>,
}

impl Poll {
    /// Starts to poll.
    #[must_use]
    pub fn begin(context: &AttackContext) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (http, url) = (context.http.clone(), format!("http://{}/readyz", context.target.address));
        let until = Arc::clone(&stop);
        let asking = tokio::spawn(async move {
            let mut seen = Seen::default();
            let mut tick = tokio::time::interval(PAUSE);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !until.load(Ordering::Relaxed) {
                tick.tick().await;
                let begun = Stopwatch::start();
                let answer = http.get(&url).timeout(LONGEST).send().await;
                seen.asked += 1;
                seen.slowest = seen.slowest.max(begun.elapsed());
                match answer {
                    Ok(answer) if answer.status().is_success() => {}
                    Ok(answer) => seen.refused.push(answer.status().to_string()),
                    Err(error) => seen.refused.push(error.to_string()),
                }
            }
            seen
        });
        Self { stop, asking }
    }

    /// Stops polling and records the outcome.
    pub async fn end(self, context: &AttackContext) {
        self.stop.store(true, Ordering::Relaxed);
        let outcome = match self.asking.await {
            Ok(Seen { asked, slowest, refused }) => {
                let slowest = slowest.as_millis();
                match refused.first() {
                    None => CaseOutcome::Contained(format!("{asked} times 200, the slowest after {slowest} ms")),
                    Some(first) => CaseOutcome::Escaped(format!("{} of {asked} not: {first}", refused.len())),
                }
            }
            Err(error) => CaseOutcome::Inconclusive(error.to_string()),
        };
        context.record(&id(NAME), outcome);
    }
}
