//! How late a time limit takes effect: many stages that resist at once, on processors without idle time.

use futures_util::StreamExt;
use uuid::Uuid;

use super::{case, id, percentile};
use crate::case::{Case, CaseOutcome};
use crate::context::{AttackContext, CONCURRENT_RUNS};
use crate::templates;
use assize_domain::run::Status;
use assize_protocol::plan::GRACE_MS;

/// Stages of each kind. The four kinds together are more than a hundred stages; with fewer, the 99th percentile would
/// be the maximum.
const EACH: usize = 26;

/// Largest permitted delay after time limit and grace, at the 99th percentile of all kinds together, in ms.
const MAX_LATENESS_MS: f64 = 1_000.0;

/// Name, what is tried, program. Every program keeps all its processors busy, or stops itself.
const KINDS: &[(&str, &str, &str)] = &[
    (
        "late-term",
        "ignores SIGTERM, with four spinning processes",
        "import os, signal\n\
        for number in (1, 2, 15):\n    signal.signal(number, signal.SIG_IGN)\nfor _ in range(2):\n    os.fork()\n\
        while True:\n    pass\n",
    ),
    (
        "late-stop",
        "stops itself and its group, beside a spinning process that left the group",
        "import os, signal\n\
        if os.fork() == 0:\n    os.setsid()\n    while True:\n        pass\nos.kill(0, signal.SIGSTOP)\nwhile True:\n    pass\n",
    ),
    (
        "late-storm",
        "starts processes that leave its group faster than they end",
        "import os, signal\n\
        signal.signal(15, signal.SIG_IGN)\nwhile True:\n    try:\n        if os.fork() == 0:\n            os.setsid()\n\
        \x20           os._exit(0)\n        while True:\n            if os.waitpid(-1, os.WNOHANG)[0] == 0:\n                break\n\
        \x20   except OSError:\n        pass\n",
    ),
    (
        "late-signals",
        "ignores all it can and sends PID 1 signals without end",
        "import os, signal\n\
        for number in (1, 2, 15):\n    signal.signal(number, signal.SIG_IGN)\nos.fork()\n\
        while True:\n    os.kill(1, signal.SIGCHLD)\n    os.kill(1, signal.SIGTERM)\n",
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let control = "ended within time limit (1 s) + grace (2 s) + 1 s, 99 of 100";
    KINDS
        .iter()
        .map(|(name, tried, _)| {
            case(name, &format!("{tried}; {EACH} such stages, {} at once", CONCURRENT_RUNS + 2), control)
        })
        .collect()
}

pub(super) async fn run(context: &AttackContext) {
    let wanted: Vec<_> = KINDS.iter().filter(|(name, ..)| context.wants(&id(name))).collect();
    // Alternating, so that every kind runs beside all others on the same processors.
    let all = (0..EACH).flat_map(|_| wanted.iter().copied());
    let late: Vec<(&str, Result<f64, String>)> = futures_util::stream::iter(all)
        .map(async |(name, _, program)| (*name, one(context, name, program).await))
        .buffer_unordered(CONCURRENT_RUNS + 2)
        .collect()
        .await;
    let mut of_all: Vec<f64> = late.iter().filter_map(|(_, late)| late.as_ref().ok().copied()).collect();
    let most_of_all = percentile(&mut of_all, 99).unwrap_or(f64::INFINITY);
    for (name, ..) in wanted {
        let of_kind = late.iter().filter(|(of, _)| of == name).map(|(_, late)| late.clone());
        let outcome = match of_kind.collect::<Result<Vec<f64>, String>>() {
            Err(why) => CaseOutcome::Inconclusive(why),
            Ok(mut late) => {
                let (half, most) = (percentile(&mut late, 50), percentile(&mut late, 100));
                let (half, most) = (half.unwrap_or(f64::NAN), most.unwrap_or(f64::INFINITY));
                CaseOutcome::contained_if(
                    most_of_all <= MAX_LATENESS_MS,
                    format!("p50 {half:.0}, p100 {most:.0}, p99 of all {most_of_all:.0} ms beyond limit and grace"),
                )
            }
        };
        context.record(&id(name), outcome);
    }
}

/// Milliseconds between the due end of a stage and its end in the database.
async fn one(context: &AttackContext, name: &str, program: &str) -> Result<f64, String> {
    let archive = assize_corpus::project(&[("run.py".to_owned(), program.as_bytes().to_vec())]);
    let run: Uuid = context.begin(&[id(name)], "late", archive).await?;
    let ended = context.ended(run).await?;
    let events = context.store.events_of_run(run, 0).await.map_err(|error| error.to_string())?;
    let started = events.iter().find(|event| event.to_status == Status::Running);
    let finished = events.iter().find(|event| event.to_status.is_terminal());
    let (Some(started), Some(finished)) = (started, finished) else {
        return Err(format!("run {run} has no time of its start or of its end"));
    };
    if ended["status"] != "timed_out" {
        return Err(format!("run {run} should have timed out: {}", crate::trial::describe_end(&ended)));
    }
    let allowed =
        chrono::TimeDelta::milliseconds(i64::try_from(templates::LATE_S * 1000 + GRACE_MS).unwrap_or(i64::MAX));
    let late = finished.at - started.at - allowed;
    Ok(late.as_seconds_f64() * 1000.0)
}
