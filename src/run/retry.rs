//! Whether a failed attempt is followed by another.

use super::FailureCode;

/// Attempts after the first. Source: DESIGN, states (`max_retries`).
pub const MAX_RETRIES: i32 = 2;

/// What follows an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same run goes back to the queue with this attempt.
    Retry { attempt: i32 },
    /// The run ends with the failure.
    End,
}

/// Only the infrastructure's own faults are tried again, and at most [`MAX_RETRIES`] times.
#[must_use]
pub const fn after(code: FailureCode, attempt: i32) -> Next {
    if code.is_transient() && attempt <= MAX_RETRIES { Next::Retry { attempt: attempt + 1 } } else { Next::End }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
