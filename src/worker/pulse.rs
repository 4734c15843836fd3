//! Whether the engine answers, known before a run is claimed: an outage costs no run its attempt but those
//! that are being prepared just then.
//!
//! No claim asks for this. An engine that ends also ends its stream of events, and is asked at once; one that
//! hangs says nothing, and is found by a ping every second. While it does not answer claims are held back,
//! and when it does again a probe follows ([`super::breaker::mend`]).

use std::time::Duration;

use futures_util::future::{BoxFuture, OptionFuture};

use super::Worker;
use assize_observe::event;

/// Between two pings, 0.3 ms each.
const PERIOD: Duration = Duration::from_secs(1);

/// An engine that is there answers a ping in milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks for ever.
pub async fn watch(worker: &Worker) {
    let listen = || -> Option<BoxFuture<'_, ()>> { Some(Box::pin(worker.engine.until_cut())) };
    let mut listening = listen();
    let mut is_there = true;
    loop {
        tokio::select! {
            Some(()) = OptionFuture::from(listening.as_mut()) => listening = None,
            () = tokio::time::sleep(PERIOD) => if is_there && listening.is_none() {
                listening = listen();
            },
        }
        let was_there = std::mem::replace(&mut is_there, look(worker).await);
        if is_there && !was_there {
            worker.breaker.engine_is_back();
        }
    }
}

/// Whether the engine answers now; if not, claims are held back.
pub async fn look(worker: &Worker) -> bool {
    let answer = tokio::time::timeout(PATIENCE, worker.engine.ping()).await;
    let why = match answer {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(_) => {
            let why = format!("the Docker engine did not answer a ping within {} s", PATIENCE.as_secs());
            event::dependency("docker", false, &why);
            why
        }
    };
    worker.breaker.engine_is_away(&why);
    false
}
