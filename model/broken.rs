//! Each rule broken, to see that an invariant needs it and that the search finds it.

use crate::explore::{describe, exhaust, shorten};
use crate::invariants::Invariant;
use crate::rules::Rules;
use crate::world::Size;

/// Two runs of one user under the tightest caps.
const CAPPED: Size = Size { half_slots: 1, users: [0; 3], per_user: 1, ..Size::with(2, 2, 0, 0) };

/// One run, two workers, so many faults and cancels.
const fn size(faults: u8, cancels: u8) -> Size {
    Size::with(1, 2, faults, cancels)
}

/// The search finds a schedule that breaks `invariant`, and the shortened one breaks it too.
fn breaks(rules: Rules, size: Size, invariant: Invariant) {
    let Err(failure) = exhaust(&size, &rules, 4_000_000) else {
        panic!("no schedule of {size:?} breaks anything with {rules:?}")
    };
    let shortest = shorten(&failure, &rules);
    let schedule = describe(&shortest, &rules);
    println!("{schedule}");
    assert_eq!(shortest.violation.invariant, invariant, "{schedule}");
}

/// A test for each rule: its name, the rule, the size, the invariant that breaks.
macro_rules! needs {
    ($($name:ident: $rule:ident in $size:expr => $invariant:ident;)+) => {$(
        #[test]
        fn $name() {
            breaks(Rules { $rule: false, ..Rules::KEPT }, $size, Invariant::$invariant);
        }
    )+};
}

needs! {
    a_write_without_its_epoch_comes_from_a_loser: epoch_in_fence in size(1, 0) => HolderWrites;
    a_write_without_its_status_repeats_a_verdict: status_in_fence in size(1, 0) => OneVerdict;
    an_adoption_without_the_epoch_takes_what_was_just_taken: epoch_in_adoption in size(2, 0) => NothingFreshIsTaken;
    an_adoption_without_the_status_overwrites_an_end: status_in_adoption in size(1, 0) => EndsStay;
    an_adoption_without_the_stage_goes_backwards: phase_in_adoption in size(1, 0) => LegalMoves;
    an_adoption_that_does_not_look_again_steals: stale_in_adoption in size(1, 0) => NothingFreshIsTaken;
    an_adoption_without_an_epoch_of_its_own_is_no_fence: adoption_takes_epoch in size(1, 0) => NothingFreshIsTaken;
    a_retry_in_the_same_attempt_is_no_move: retry_takes_attempt in size(1, 0) => LegalMoves;
    a_retry_that_ignores_a_cancel_waits_for_a_slot: requeue_sees_cancel in size(1, 1) => CancelHolds;
    retries_that_are_not_counted_never_end: counts_attempts in Size::with(1, 1, 3, 0) => AttemptsEnd;
    crashes_that_are_not_counted_never_stop_poison: counts_crashes in Size::with(1, 1, 3, 0) => PoisonStops;
    crashes_beyond_the_last_cannot_be_written: caps_crashes in Size::with(1, 1, 4, 0) => EveryRunEnds;
    poison_that_does_not_end_kills_on: ends_poison in Size::with(1, 1, 3, 0) => PoisonStops;
    a_heartbeat_by_the_workers_clock_lets_others_steal: database_clock in size(1, 0) => NothingFreshIsTaken;
    a_late_renewal_makes_a_crash_of_a_drain: renewal_spares_released in size(2, 0) => OnlyDeathsCount;
    a_drained_worker_that_lets_go_of_nothing_counts_as_a_crash: releases_at_end in size(2, 0) => OnlyDeathsCount;
    a_lost_reply_to_a_claim_loses_the_run: finds_own in size(1, 0) => NoRunIsLost;
    a_slow_reply_to_a_claim_drives_a_run_twice: own_waits in size(0, 0) => NothingFreshIsTaken;
    a_cell_that_never_got_its_plan_cannot_be_gone_on_with: resumes_begun_only in size(1, 0) => EveryRunEnds;
    a_kill_under_a_lost_lease_destroys_live_work: confirms_before_kill in size(2, 0) => NoWorkIsDestroyed;
    a_kill_without_a_second_look_repeats_a_stage: looks_after_kill in size(1, 0) => NoStageTwice;
    a_start_under_a_lost_lease_comes_too_late: confirms_before_start in size(1, 0) => OneLiveCell;
    a_name_that_is_freed_under_a_lost_lease_was_anothers: confirms_before_free in size(2, 0) => NoWorkIsDestroyed;
    a_name_that_is_freed_by_name_is_anothers_by_then: frees_by_id in size(3, 0) => NoWorkIsDestroyed;
    an_earlier_cell_that_stays_lives_beside_the_next: tidies_before_create in size(1, 0) => OneLiveCell;
    who_destroys_before_it_writes_repeats_a_stage: writes_first in size(2, 0) => NoStageTwice;
    a_loser_that_does_not_look_destroys_what_goes_on: loser_looks in size(1, 0) => NoStageTwice;
    caps_that_are_read_before_the_claim_are_exceeded: caps_in_claim in CAPPED => CapsHold;
    a_claim_that_ignores_the_backoff_comes_too_early: waits_for_backoff in size(1, 0) => CapsHold;
    claims_while_the_engine_is_away_use_up_attempts: watches_engine in Size::with(1, 1, 1, 0) => OnlyFaultsCostAttempts;
    without_a_sweep_something_is_left: sweeps in size(1, 0) => NothingIsLeft;
    a_sweep_that_asks_postgres_first_destroys_what_is_new: asks_engine_first in size(1, 0) => NoWorkIsDestroyed;
}
