//! Monitors the Docker engine so that no run is claimed during an outage. Only runs that are already in `preparing`
//! lose an attempt.
//!
//! No claim asks the engine. An engine that ends also ends its stream of events, and is asked at once. An engine that
//! hangs sends nothing, and a ping every second finds it. While the engine does not answer, claims are paused. When it
//! answers again, a probe follows ([`super::breaker::run_recovery_probes`]).

use std::time::Duration;

use assize_observe::event;
use futures_util::future::{BoxFuture, OptionFuture};

use super::Worker;

/// Time between two pings, which take 0.3 ms each.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How long a ping may take. A healthy engine answers in milliseconds.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Monitors the engine; never returns.
pub async fn monitor(worker: &Worker) {
    let subscribe = || -> Option<BoxFuture<'_, ()>> { Some(Box::pin(worker.engine.until_cut())) };
    let mut event_stream = subscribe();
    let mut answers = true;
    loop {
        tokio::select! {
            Some(()) = OptionFuture::from(event_stream.as_mut()) => event_stream = None,
            () = tokio::time::sleep(PING_INTERVAL) => if answers && event_stream.is_none() {
                event_stream = subscribe();
            },
        }
        let answered_before = std::mem::replace(&mut answers, check_engine(worker).await);
        if answers && !answered_before {
            worker.breaker.engine_recovered();
        }
    }
}

/// Pings the engine. If it does not answer, claims are paused. Returns whether it answered.
pub async fn check_engine(worker: &Worker) -> bool {
    let answer = tokio::time::timeout(PING_TIMEOUT, worker.engine.ping()).await;
    let why = match answer {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            let why = format!("the Docker engine did not answer a ping within {} s", PING_TIMEOUT.as_secs());
            event::dependency("docker", false, &why);
            why
        }
    };
    worker.breaker.engine_unavailable(&why);
    false
}
