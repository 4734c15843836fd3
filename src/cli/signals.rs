//! The signals that stop a process in order, and the one that makes it load its templates anew.

use std::io::Read;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::redis::ReloadRequest;
use assize_client::outcome::Fault;

/// Returns a token that SIGTERM or SIGINT cancels. With `lifeline`, the end of stdin cancels it too: a child of
/// `assize up` notices in this way that its parent has ended, even if the parent was killed.
///
/// # Errors
/// [`Fault`] if the signals cannot be caught.
pub fn shutdown_token(lifeline: bool) -> Result<CancellationToken, Fault> {
    let fault = |error: std::io::Error| Fault::infrastructure(format!("cannot catch signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(fault)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(fault)?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    if lifeline {
        let token = stop.clone();
        // A separate thread reads, because the runtime would wait at its end for a read that may never return.
        std::thread::spawn(move || {
            let mut stdin = std::io::stdin().lock();
            let mut bytes = [0; 64];
            while matches!(stdin.read(&mut bytes), Ok(count) if count > 0) {}
            token.cancel();
        });
    }
    Ok(stop)
}

/// Makes a request to load the templates anew of each SIGHUP.
///
/// # Errors
/// [`Fault`] if the signal cannot be caught.
pub fn reload_on_hangup(requests: mpsc::Sender<ReloadRequest>) -> Result<(), Fault> {
    let fault = |error: std::io::Error| Fault::infrastructure(format!("cannot catch signals: {error}"));
    let mut hangup = signal(SignalKind::hangup()).map_err(fault)?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // A full queue already has a request that reads the templates later than this signal.
            requests.try_send(ReloadRequest::Signal).ok();
        }
    });
    Ok(())
}
