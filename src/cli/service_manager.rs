//! What the API and the worker report to the service manager that started them.

use std::convert::Infallible;
use std::time::Duration;

use assize_host::service_manager::{LoopMonitor, LoopTurns, ServiceManager};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Time between two looks at the loops and the status. A third of it is the shortest watchdog that is served.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time between two requests for more time while the process stops, and the time that each asks for.
const STOPPING_INTERVAL: Duration = Duration::from_secs(10);
const STOPPING_TIME: Duration = Duration::from_secs(30);

/// Reports to the service manager until the returned future is dropped: readiness once `ready` is true, the status
/// whenever it changes, to the watchdog whenever every loop has turned, and from `stop` on that the process stops. It
/// never returns. Without a manager it does nothing.
///
/// Nothing is reported to the watchdog before `ready`: the manager waits for readiness with another limit.
pub async fn report(
    mut ready: watch::Receiver<bool>,
    loops: Vec<LoopTurns>,
    status: impl Fn() -> String,
    stop: CancellationToken,
) -> Infallible {
    let Some(manager) = ServiceManager::from_environment() else { return std::future::pending().await };
    let is_ready = tokio::select! {
        ready = ready.wait_for(|ready| *ready) => ready.is_ok(),
        () = stop.cancelled() => false,
    };
    if is_ready {
        serving(manager, loops, &status, &stop).await;
    }
    loop {
        manager.stopping(&status(), STOPPING_TIME);
        tokio::time::sleep(STOPPING_INTERVAL).await;
    }
}

/// Reports readiness, then status and watchdog until `stop`.
async fn serving(
    manager: ServiceManager,
    loops: Vec<LoopTurns>,
    status: &impl Fn() -> String,
    stop: &CancellationToken,
) {
    let mut monitor = LoopMonitor::new(loops);
    let mut reported = status();
    manager.ready(&reported);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let now = status();
        if now != reported {
            manager.status(&now);
            reported = now;
        }
        if manager.watchdog().is_some() && monitor.all_have_turned() {
            manager.is_well();
        }
    }
}
