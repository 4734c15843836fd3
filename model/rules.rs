//! The rules of the protocol, each of which can be broken to show that an invariant needs it.

/// All true is the protocol; see `main.rs` for what each protects.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule that a test breaks by name")]
pub struct Rules {
    /// A worker's write names its epoch.
    pub epoch_in_fence: bool,
    /// A worker's write names the status that it believes.
    pub status_in_fence: bool,
    /// Adoption names the epoch that the SELECT saw.
    pub epoch_in_adoption: bool,
    /// Adoption names the status that the SELECT saw: what has ended is as stale as before.
    pub status_in_adoption: bool,
    /// Adoption names the stage that the SELECT saw: from there on the new holder writes.
    pub phase_in_adoption: bool,
    /// Adoption of what only looked dead looks at the heartbeat again.
    pub stale_in_adoption: bool,
    /// Adoption takes the next epoch.
    pub adoption_takes_epoch: bool,
    /// A retry is the next attempt.
    pub retry_takes_attempt: bool,
    /// A run that someone cancelled does not go back to the queue.
    pub requeue_sees_cancel: bool,
    /// Retries end.
    pub counts_attempts: bool,
    /// Taking a run from a worker that died counts.
    pub counts_crashes: bool,
    /// But no further than to what the table allows.
    pub caps_crashes: bool,
    /// What killed so many workers ends.
    pub ends_poison: bool,
    /// Heartbeats are the database's time.
    pub database_clock: bool,
    /// A heartbeat that was on its way leaves a lease that was let go as it is.
    pub renewal_spares_released: bool,
    /// A worker that has nothing to do any more lets go of what is in its name all the same.
    pub releases_at_end: bool,
    /// A worker takes what it finds in its own name and does not know.
    pub finds_own: bool,
    /// But not while the reply to a claim may still come.
    pub own_waits: bool,
    /// Only a cell with a stage begun is gone on with.
    pub resumes_begun_only: bool,
    /// Before a cell that had not begun is killed, a fenced write.
    pub confirms_before_kill: bool,
    /// After it, another look at its journal.
    pub looks_after_kill: bool,
    /// Between create and start comes a fenced write.
    pub confirms_before_start: bool,
    /// And before something else that has the name is removed.
    pub confirms_before_free: bool,
    /// And it is removed by its id, which was looked up before that write.
    pub frees_by_id: bool,
    /// Nobody creates a cell while one of an earlier attempt exists.
    pub tidies_before_create: bool,
    /// A worker destroys after the write that ends the attempt, not before.
    pub writes_first: bool,
    /// A worker that lost its lease leaves the cells of an attempt that goes on.
    pub loser_looks: bool,
    /// Claims check the caps in the statement that claims.
    pub caps_in_claim: bool,
    /// A claim waits for `not_before`.
    pub waits_for_backoff: bool,
    /// A worker claims nothing while its engine is away.
    pub watches_engine: bool,
    /// Containers of attempts that are over are swept.
    pub sweeps: bool,
    /// And the engine is asked for them before Postgres is asked which are over.
    pub asks_engine_first: bool,
}

impl Rules {
    pub const KEPT: Self = Self {
        epoch_in_fence: true,
        status_in_fence: true,
        epoch_in_adoption: true,
        status_in_adoption: true,
        phase_in_adoption: true,
        stale_in_adoption: true,
        adoption_takes_epoch: true,
        retry_takes_attempt: true,
        requeue_sees_cancel: true,
        counts_attempts: true,
        counts_crashes: true,
        caps_crashes: true,
        ends_poison: true,
        database_clock: true,
        renewal_spares_released: true,
        releases_at_end: true,
        finds_own: true,
        own_waits: true,
        resumes_begun_only: true,
        confirms_before_kill: true,
        looks_after_kill: true,
        confirms_before_start: true,
        confirms_before_free: true,
        frees_by_id: true,
        tidies_before_create: true,
        writes_first: true,
        loser_looks: true,
        caps_in_claim: true,
        waits_for_backoff: true,
        watches_engine: true,
        sweeps: true,
        asks_engine_first: true,
    };
}
