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
            None => format!("the test {name:?} is not in the report; {}", names_in(verdict)),
        };
        let key = format!("{}.tests", tried.sample.name);
        let advice = "correct the tests, or the declared test";
        complaints.push(Complaint::error("sample/expect.toml", &key, message, advice));
    }
    complaints
}

/// The first names of a verdict, for an author who has declared others.
fn names_in(verdict: &Verdict) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = verdict.tests.iter().take(SHOWN).map(|test| format!("{:?}", test.name)).collect();
    let more = verdict.tests.len().saturating_sub(SHOWN);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("it has {}{rest}", names.join(", "))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEMPLATE: &str = r#"
        description = "d"
        class = "A"
        image = "i"
        limits = { cpus = 1.0, memory_mib = 64, pids = 16, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 }
        stages = [{ name = "build", command = ["true"], timeout_s = 3 }, { name = "tests", command = ["true"], timeout_s = 9 }]
        results = { format = "junit", path = "/a" }
        global = { timeout_s = 30 }
        [[tests]]
        match = "a*"
        name = "shown"
    "#;

    fn template() -> Template {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(TEMPLATE_FILE), TEMPLATE).unwrap();
        Template::load(folder.path()).unwrap()
    }

    fn statement(build_ms: u64, tests_ms: u64, whole_s: u32) -> RunStatement {
        let stage = |name: &str, duration_ms: u64| {
            json!({ "cell": "subject", "name": name, "exit": { "exited": { "code": 0 } }, "duration_ms": duration_ms,
                "cpu_ms": 0, "max_rss_kib": 0, "output_bytes": 0 })
        };
        let id = uuid::Uuid::nil();
        let mut statement = json!({ "run_id": id, "submission_id": id, "organization_id": id, "attempt": 1,
            "template": null, "cells": [], "global_timeout_ms": null, "stages": [], "output": null, "integrity": null,
            "status": "completed", "verdict": null, "failure": null, "started_at": "2026-01-01T00:00:00Z",
            "finished_at": format!("2026-01-01T00:00:{whole_s:02}Z"), "key_id": "k" });
        let exit = serde_json::to_value(assize_protocol::event::StageExit::Exited { code: 0 }).unwrap();
        let mut stages = [stage("build", build_ms), stage("tests", tests_ms)];
        stages.iter_mut().for_each(|stage| stage["exit"] = exit.clone());
        statement["stages"] = json!(stages);
        serde_json::from_value(statement).unwrap()
    }

    #[test]
    fn a_passing_sample_needs_at_most_a_third_of_each_limit() {
        let template = template();
        for (build_ms, tests_ms, whole_s, keys) in [
            (1000, 3000, 10, &[][..]),
            (1001, 3000, 10, &["stages.timeout_s of build"]),
            (0, 3001, 10, &["stages.timeout_s of tests"]),
            (0, 0, 11, &["global.timeout_s"]),
            (3000, 9000, 30, &["stages.timeout_s of build", "stages.timeout_s of tests", "global.timeout_s"]),
        ] {
            let complaints = tight_limits("passing", &statement(build_ms, tests_ms, whole_s), &template);
            let seen: Vec<&str> = complaints.iter().map(|complaint| complaint.key.as_str()).collect();
            assert_eq!(seen, keys);
            assert!(complaints.iter().all(|complaint| complaint.severity == Severity::Warning));
        }
        let complaints = tight_limits("passing", &statement(1001, 0, 1), &template);
        assert_eq!(complaints[0].advice, "raise it to 4 or more, because a busy host is slower");
    }

    #[test]
    fn a_declared_test_is_found_by_the_name_that_is_shown() {
        let template = template();
        assert_eq!((shown_name(&template, "a1"), shown_name(&template, "b")), ("shown", "b"));
    }
}
