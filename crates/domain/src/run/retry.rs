//! Whether a failed attempt is followed by another, and when.

use std::time::Duration;

use super::FailureCode;

/// Attempts after the first: an infrastructure that fails three times in a row is not repaired by a fourth try.
pub const MAX_RETRIES: i32 = 2;

/// Number of workers that may die while they hold the lease of one run. Beyond it, the run is assumed to kill them.
pub const MAX_CRASHES: i32 = 3;

/// Mean delay before the second attempt; the delay of each further attempt is four times as long.
const BACKOFF: Duration = Duration::from_secs(2);

/// The step after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same run goes back to the queue with this attempt.
    Retry {
        /// Number of the next attempt, from 2.
        attempt: i32,
    },
    /// The run ends with the failure.
    End,
}

/// Only faults of the infrastructure are retried, at most [`MAX_RETRIES`] times.
#[must_use]
pub const fn after(code: FailureCode, attempt: i32) -> Next {
    if code.is_transient() && attempt <= MAX_RETRIES { Next::Retry { attempt: attempt + 1 } } else { Next::End }
}

/// How long the attempt after `attempt` waits: half to one and a half times its backoff, as `chance`
/// (0 to 1) decides, so that runs that failed together do not come back together. A run that lost its
/// worker does not wait: the next worker has nothing to recover from.
#[must_use]
pub fn delay(code: FailureCode, attempt: i32, chance: f64) -> Duration {
    if code == FailureCode::WorkerLost {
        return Duration::ZERO;
    }
    let times = 4_u32.saturating_pow(u32::try_from(attempt.clamp(1, 8) - 1).unwrap_or(0));
    (BACKOFF * times).mul_f64(0.5 + chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_backoff_grows_and_is_jittered() {
        let at = |attempt, chance| delay(FailureCode::DockerUnavailable, attempt, chance).as_secs_f64();
        assert_eq!([at(1, 0.0), at(1, 0.5), at(1, 1.0)], [1.0, 2.0, 3.0]);
        assert_eq!([at(2, 0.0), at(2, 0.5), at(2, 1.0)], [4.0, 8.0, 12.0]);
        assert_eq!(delay(FailureCode::WorkerLost, 1, 0.5), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn every_chain_of_retries_ends(code in proptest::sample::select(FailureCode::ALL)) {
            let mut attempt = 1;
            while let Next::Retry { attempt: next } = after(code, attempt) {
                prop_assert_eq!(next, attempt + 1);
                attempt = next;
            }
            prop_assert!(attempt <= 1 + MAX_RETRIES);
            prop_assert_eq!(attempt > 1, code.is_transient());
        }
    }
}
