//! The rules of the protocol, each of which can be broken to show that an invariant needs it.

/// All true is the protocol; see `main.rs` for what each protects.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule that a test breaks by name")]
pub struct Rules {
    /// A worker's write names its epoch.
    pub epoch_in_fence: bool,
    /// A worker's write names the status that it believes.
    pub status_in_fence: bool,
    /// The watchdog's UPDATE looks at the heartbeat again.
    pub stale_in_fence: bool,
    /// The watchdog's UPDATE names the status that its SELECT saw: what has ended is as stale as before.
    pub status_in_watchdogs_fence: bool,
    /// A retry is the next attempt.
    pub retry_takes_attempt: bool,
    /// Adoption takes the next epoch.
    pub adoption_takes_epoch: bool,
    /// Only a cell with a stage begun is adopted, and only in running or parsing.
    pub adopts_begun_only: bool,
    /// The watchdog destroys after its UPDATE, not before.
    pub watchdog_writes_first: bool,
    /// A worker destroys after the write that ends the attempt, not before.
    pub worker_writes_first: bool,
    /// A worker that lost its lease leaves a cell whose attempt goes on.
    pub loser_looks: bool,
    /// Nobody creates a cell while one of an earlier attempt exists.
    pub tidies_before_create: bool,
    /// Between create and start comes a fenced write.
    pub confirms_before_start: bool,
    /// A worker drives what it finds in its own name and does not know.
    pub finds_own: bool,
    /// A late reply to a claim is no second reason to drive a run.
    pub claim_reply_once: bool,
    /// Heartbeats are the database's time.
    pub database_clock: bool,
    /// Claims check the caps in the statement that claims.
    pub caps_in_claim: bool,
    /// A worker whose engine does not answer claims nothing.
    pub claims_with_engine: bool,
    /// A claim waits for `not_before`.
    pub waits_for_backoff: bool,
    /// Taking a run from a worker that died counts.
    pub counts_crashes: bool,
    /// Retries end.
    pub counts_attempts: bool,
    /// A run that someone cancelled does not go back to the queue.
    pub requeue_sees_cancel: bool,
    /// Containers of attempts that are over are swept.
    pub sweeps: bool,
    /// Only those.
    pub sweeps_over_only: bool,
}

impl Rules {
    pub const KEPT: Self = Self {
        epoch_in_fence: true,
        status_in_fence: true,
        stale_in_fence: true,
        status_in_watchdogs_fence: true,
        retry_takes_attempt: true,
        adoption_takes_epoch: true,
        adopts_begun_only: true,
        watchdog_writes_first: true,
        worker_writes_first: true,
        loser_looks: true,
        tidies_before_create: true,
        confirms_before_start: true,
        finds_own: true,
        claim_reply_once: true,
        database_clock: true,
        caps_in_claim: true,
        claims_with_engine: true,
        waits_for_backoff: true,
        counts_crashes: true,
        counts_attempts: true,
        requeue_sees_cancel: true,
        sweeps: true,
        sweeps_over_only: true,
    };
}
