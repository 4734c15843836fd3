//! What the run of a sample shows about its template.

use assize_client::client::Client;
use assize_client::report::Run;
use assize_domain::run::Status;
use assize_domain::verdict::Verdict;
use assize_signing::statement::RunStatement;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cli::demo::SampleRun;
use crate::cli::demo::expect::end_of;
use crate::template::{Complaint, Severity, TEMPLATE_FILE, Template};

/// A time limit is at least so many times what a passing sample needs: a busy host is slower.
const HEADROOM: u64 = 3;

/// All complaints about the run of one sample.
pub(super) async fn of_run(client: &Client, tried: &SampleRun<'_>, template: &Template) -> Vec<Complaint> {
    let sample = tried.sample;
    let file = format!("sample/{}", sample.name);
    let Some(run) = tried.ended() else { return Vec::new() };
    let mut complaints = Vec::new();
    if !tried.is_as_expected() {
        let message = format!("it ended as {}, expected is {}", end_of(run), sample.expected);
        let advice = sample
            .expected
            .mistake(run)
            .unwrap_or_else(|| "correct the tests, or the expected end in sample/expect.toml".to_owned());
        complaints.push(Complaint::error(&file, "", message, advice));
    }
    if run.status != Status::Completed {
        return complaints;
    }
    let statement = match statement(client, run).await {
        Ok(statement) => statement,
        Err(reason) => {
            let message = format!("its tests and time limits were not compared: {reason}");
            complaints.push(Complaint::error(&file, "", message, "try again").with(Severity::Warning));
            return complaints;
        }
    };
    if let Some(verdict) = &statement.verdict {
        complaints.extend(other_tests(tried, verdict, template));
        if verdict.all_passed() {
            complaints.extend(tight_limits(&sample.name, &statement, template));
        }
    }
    complaints
}

/// The signed statement about the end of a run. Its signature is that of a service that this command started.
async fn statement(client: &Client, run: &Run) -> Result<RunStatement, String> {
    let path = format!("/v1/runs/{}/verdict?format=dsse", run.id);
    let bytes = client.document(&path).await.map_err(|fault| fault.to_string())?;
    let envelope: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let payload = envelope["payload"].as_str().unwrap_or_default();
    let payload = STANDARD.decode(payload).map_err(|error| error.to_string())?;
    let mut statement: Value = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
    serde_json::from_value(statement["predicate"].take()).map_err(|error| error.to_string())
}

/// Tests that the sample declares and that ended otherwise, or were not there.
fn other_tests(tried: &SampleRun<'_>, verdict: &Verdict, template: &Template) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (name, status) in tried.sample.expected.tests.iter().flatten() {
        let shown = shown_name(template, name);
        let seen: Vec<_> = verdict.tests.iter().filter(|test| test.name == shown).map(|test| test.status).collect();
        if seen.contains(status) {
            continue;
        }
        let message = match seen.first() {
            Some(other) => format!("the test {name:?} is {}, expected is {}", other.as_str(), status.as_str()),
            None => format!("the test {name:?} is not in the report"),
        };
        let key = format!("{}.tests", tried.sample.name);
        let advice = "correct the tests, or the declared test";
        complaints.push(Complaint::error("sample/expect.toml", &key, message, advice));
    }
    complaints
}

/// The name under which the verdict shows a test of the report.
fn shown_name<'a>(template: &'a Template, name: &'a str) -> &'a str {
    let marking = &template.results.marking;
    let rule = marking.rule_for(name).and_then(|index| marking.rules().nth(index));
    rule.and_then(|rule| rule.name.as_deref()).unwrap_or(name)
}

/// Rules of `[[tests]]` that held for no test of any completed sample.
pub(super) async fn unseen_rules(client: &Client, runs: &[SampleRun<'_>], template: &Template) -> Vec<Complaint> {
    let marking = &template.results.marking;
    if marking.is_empty() {
        return Vec::new();
    }
    let mut verdicts = Vec::new();
    for run in runs.iter().filter_map(SampleRun::ended).filter(|run| run.status == Status::Completed) {
        verdicts.extend(statement(client, run).await.ok().and_then(|statement| statement.verdict));
    }
    let names: Vec<&str> = verdicts.iter().flat_map(|verdict| &verdict.tests).map(|test| test.name.as_str()).collect();
    let is_seen = |index: usize, shown: Option<&str>| {
        names.iter().any(|name| shown.map_or_else(|| marking.rule_for(name) == Some(index), |shown| shown == *name))
    };
    let unseen = marking.rules().enumerate().filter(|(index, rule)| !is_seen(*index, rule.name.as_deref()));
    unseen
        .map(|(index, rule)| {
            let message = format!(
                "`match` of [[tests]] number {} is {:?}, and no sample has such a test",
                index + 1,
                rule.pattern
            );
            Complaint::error(TEMPLATE_FILE, "tests.match", message, "correct the pattern, or remove the table")
        })
        .collect()
}

/// Time limits of which a sample with full marks needed more than a third.
fn tight_limits(name: &str, statement: &RunStatement, template: &Template) -> Vec<Complaint> {
    let mut needs = Vec::new();
    for stage in &statement.stages {
        let driver = template.driver.as_ref().filter(|_| stage.cell == "driver");
        let own = template.stages.iter().find(|own| own.name == stage.name && own.ready.is_none());
        match (driver, own) {
            (Some(driver), _) => needs.push(("driver.timeout_s".to_owned(), stage.duration_ms, driver.timeout_s)),
            (None, Some(own)) => {
                needs.push((format!("stages.timeout_s of {}", own.name), stage.duration_ms, own.timeout_s))
            }
            // A service runs until the tests have ended.
            (None, None) => {}
        }
    }
    let whole = (statement.finished_at - statement.started_at).num_milliseconds();
    needs.push(("global.timeout_s".to_owned(), u64::try_from(whole).unwrap_or_default(), template.global_timeout_s));
    let tight = needs.into_iter().filter(|(_, needed_ms, limit_s)| needed_ms * HEADROOM > limit_s * 1000);
    tight
        .map(|(key, needed_ms, limit_s)| {
            let message = format!("the sample {name} needed {needed_ms} ms of {limit_s} s, more than a third");
            let advice =
                format!("raise it to {} or more, because a busy host is slower", (needed_ms * HEADROOM).div_ceil(1000));
            Complaint::error(TEMPLATE_FILE, &key, message, advice).with(Severity::Warning)
        })
        .collect()
}
