//! Series with labels whose values are known, so that they can be created before anything is counted.

use ::metrics::{Counter, Histogram, counter, histogram};
use assize_domain::queue::ClaimPause;
use assize_domain::run::{Cause, FailureCode, Status};

use super::families;

pub(super) fn failures(template: &str, code: FailureCode) -> Counter {
    let (code, cause) = (code.as_str(), code.cause().as_str());
    counter!(families::FAILURES.name, "template" => template.to_owned(), "code" => code, "cause" => cause)
}

pub(super) fn run_duration(template: &str, status: Status) -> Histogram {
    let labels = [("template", template.to_owned()), ("status", status.as_str().to_owned())];
    histogram!(families::RUN_DURATION.name, &labels)
}

/// How an attempt can end: label values of [`families::ATTEMPTS`].
pub(super) const OUTCOMES: [&str; 5] = ["completed", "cancelled", "submission", "grader", "infrastructure"];

/// The word for attempts that failed for this cause. Only a cancel is caused by the platform.
pub(super) const fn outcome_of(cause: Cause) -> &'static str {
    match cause {
        Cause::Platform => "cancelled",
        Cause::Submission | Cause::Grader | Cause::Infrastructure => cause.as_str(),
    }
}

pub(super) fn attempts(outcome: &'static str) -> Counter {
    counter!(families::ATTEMPTS.name, "outcome" => outcome)
}

pub(super) fn claim_pauses(reason: ClaimPause) -> Counter {
    counter!(families::CLAIM_PAUSES.name, "reason" => reason.as_str())
}

pub(super) fn worker_probes(is_ok: bool) -> Counter {
    counter!(families::WORKER_PROBES.name, "outcome" => if is_ok { "ok" } else { "failed" })
}
