//! Projects that misuse the descriptor for the ends of tests, in a template whose tests run beside the project's service.

use std::path::Path;

use futures_util::StreamExt;
use reqwest::Method;

use super::{blame, forged};
use crate::case::{Case, CaseOutcome, Group};
use crate::context::{AttackContext, CONCURRENT_RUNS};
use crate::templates::PYTHON;
use crate::trial::{Expectation, assess};
use assize_domain::run::FailureCode;

const TEMPLATE: &str = "progress";

/// What the tests write if both of their tests passed, and if both failed.
const PASSED: &str = "printf '1..2\\nok 1 - a\\nok 2 - b\\n' > results\n";
const FAILED: &str = "printf '1..2\\nnot ok 1 - a\\nnot ok 2 - b\\n' > results\n";

/// Reports that the first test passed.
const LINE: &str = "echo '{\"test\": \"a\", \"status\": \"passed\"}' >&3\n";

/// A project that does one thing with the descriptor.
struct Attempt {
    name: &'static str,
    tried: &'static str,
    control: &'static str,
    script: String,
    expected: Expectation,
    /// The number of events that clients must have.
    reported: usize,
}

fn attempts() -> [Attempt; 6] {
    let both = Expectation::ScoresOutOf(2.0, 2.0);
    [
        Attempt {
            name: "progress-flood",
            tried: "reports a million ends of tests",
            control: "the warden sends 10,000 lines of a stage and reads the others",
            script: format!("yes '{{\"test\": \"a\", \"status\": \"passed\"}}' | head -n 1000000 >&3\n{PASSED}"),
            expected: both,
            reported: 10_000,
        },
        Attempt {
            name: "progress-long-line",
            tried: "reports the end of a test in a line of 100 MB",
            control: "the warden holds 4 KiB of a line",
            script: format!("head -c 100000000 /dev/zero | tr '\\0' x >&3\necho >&3\n{LINE}{PASSED}"),
            expected: both,
            reported: 1,
        },
        Attempt {
            name: "progress-closed",
            tried: "closes the descriptor for the ends of tests and goes on",
            control: "the report decides, with or without lines",
            script: format!("{LINE}exec 3>&-\n{PASSED}"),
            expected: both,
            reported: 1,
        },
        Attempt {
            name: "progress-kept",
            tried: "leaves a daemon that keeps the descriptor for the ends of tests open",
            control: "the end of a stage waits for nobody who keeps the pipe",
            script: format!("{LINE}setsid sleep 600 > /dev/null 2>&1 &\n{PASSED}"),
            expected: both,
            reported: 1,
        },
        Attempt {
            name: "progress-frames",
            tried: "writes the exact frames of a result to the descriptor for the ends of tests",
            control: "what is no line about a test is dropped",
            script: format!("cat frames >&3\n{FAILED}"),
            expected: Expectation::ScoresOutOf(0.0, 2.0),
            reported: 0,
        },
        Attempt {
            name: "progress-forged",
            tried: "reports that tests passed which the report has as failed",
            control: "a report that contradicts the lines is refused: report_spoiled",
            script: format!("{LINE}{FAILED}"),
            expected: Expectation::Fails(&[FailureCode::ReportSpoiled]),
            reported: 1,
        },
    ]
}

impl Attempt {
    fn case(&self) -> Case {
        Case::new(Group::Results, self.name, self.tried, self.control)
    }
}

pub(super) fn cases() -> Vec<Case> {
    attempts().iter().map(Attempt::case).collect()
}

/// An honest project, and what it must get.
pub(super) fn honest() -> (&'static str, Vec<u8>, Expectation) {
    (TEMPLATE, archive(&format!("{LINE}{PASSED}")), Expectation::ScoresOutOf(2.0, 2.0))
}

pub(super) async fn run(context: &AttackContext) {
    let wanted = attempts().into_iter().filter(|attempt| context.wants(&attempt.case().id));
    futures_util::stream::iter(wanted)
        .for_each_concurrent(CONCURRENT_RUNS, async |attempt| {
            let outcome = one(context, &attempt).await.unwrap_or_else(CaseOutcome::Inconclusive);
            context.record(&attempt.case().id, outcome);
        })
        .await;
}

async fn one(context: &AttackContext, attempt: &Attempt) -> Result<CaseOutcome, String> {
    let run = context.begin(&[attempt.case().id], TEMPLATE, archive(&attempt.script)).await?;
    let ended = context.ended(run).await?;
    let answer = context.send(context.request(Method::GET, &format!("/v1/runs/{run}/output"))).await?;
    let reported = answer.body["tests"].as_array().ok_or_else(|| answer.summary())?.len();
    let seen = |outcome: &CaseOutcome| format!("{}, and {reported} tests were reported", outcome.seen());
    Ok(match assess(&ended, attempt.expected) {
        outcome @ CaseOutcome::Contained(_) => CaseOutcome::contained_if(reported == attempt.reported, seen(&outcome)),
        outcome => CaseOutcome::Escaped(seen(&outcome)),
    })
}

fn archive(script: &str) -> Vec<u8> {
    let text = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    assize_corpus::project(&[
        text("run.sh", script),
        text("run.py", blame::SERVICE),
        ("frames".to_owned(), forged::frames()),
    ])
}

/// Writes the template into `folder`.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_template(folder: &Path) -> std::io::Result<()> {
    let own = folder.join(TEMPLATE);
    std::fs::create_dir_all(&own)?;
    let stage = |name: &str, command: &str, more: &str| {
        format!("[[stages]]\nname = \"{name}\"\ncommand = [{command}]\ntimeout_s = 20\n{more}")
    };
    std::fs::write(
        own.join("template.toml"),
        format!(
            "description = \"{TEMPLATE}\"\nclass = \"A\"\nimage = \"{PYTHON}\"\n\
             limits = {{ cpus = 1.0, memory_mib = 64, pids = 32, workspace_mib = 8, workspace_inodes = 200, tmp_mib = 2 }}\n\
             {}{}[results]\nformat = \"tap\"\npath = \"/workspace/results\"\nexpect_tests = 2\nmax_score = 2\n\
             progress = true\n[global]\ntimeout_s = 60\n",
            stage("start", "\"python3\", \"-I\", \"-u\", \"run.py\"", "ready = { port = 8000 }\n"),
            stage("tests", "\"sh\", \"run.sh\"", "")
        ),
    )
}
