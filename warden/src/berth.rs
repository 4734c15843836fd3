//! A berth holds an empty network namespace for the cells that join it, and does nothing else.

use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};

/// Waits for SIGTERM or SIGINT.
///
/// A kernel drops signals to a PID 1 that has no handler for them; blocked ones it keeps, so
/// blocking and waiting ends a berth at once where default actions would not.
pub fn berth() -> ExitCode {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    match ends.thread_block().and_then(|()| ends.wait()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warden berth: cannot wait for SIGTERM: {error}");
            ExitCode::FAILURE
        }
    }
}
