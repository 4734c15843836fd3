//! What all cases share: the installation under attack as a client sees it, and the host as its operator sees it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;

use super::blame::outside::Outside;
use super::case::{Case, CaseOutcome, CaseResult};
use super::host_canary::HostCanary;
use assize_cell::Engine;
use assize_cell::counters::Cgroups;
use assize_cell::spec::LABEL_RUN;
use assize_domain::run::Status;
use assize_host::clock::Stopwatch;
use assize_store::Store;

/// The longest time from submission to the end of a run, including the wait for a slot.
const RUN_TIMEOUT: Duration = Duration::from_secs(180);

/// The longest time that one answer of the API may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);

/// The time after the end of a run within which its last cell must be removed: the interval of the janitor.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of runs at one time; the installation has as many half-slots.
pub const CONCURRENT_RUNS: usize = 4;

/// The address, the credentials and the folder of the installation under attack.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Where the worker serves its metrics.
    pub worker_metrics: SocketAddr,
    /// API key of an administrator.
    pub key: String,
    pub database_url: String,
    /// Folder of the installation: logs, blobs, spool and templates.
    pub root: PathBuf,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The problem code; empty if the answer is not a problem.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Summarises the answer: its status, and its problem code or the beginning of its text.
    #[must_use]
    pub fn summary(&self) -> String {
        match (self.code(), &self.body) {
            ("", Value::String(text)) => format!("{} {}", self.status, text.chars().take(80).collect::<String>()),
            ("", _) => self.status.to_string(),
            (code, body) => {
                let numbers = match (&body["limit"], &body["seen"]) {
                    (Value::Number(limit), Value::Number(seen)) => format!(" (limit {limit}, seen {seen})"),
                    _ => String::new(),
                };
                format!("{} {code}{numbers}", self.status)
            }
        }
    }
}

/// The installation, the host, the requested cases, and the channel for their results.
pub struct AttackContext {
    pub target: Target,
    pub http: Client,
    pub store: Store,
    pub engine: Engine,
    pub cgroups: Cgroups,
    pub host_canary: HostCanary,
    pub outside: Outside,
    cases: HashMap<String, Case>,
    results: UnboundedSender<CaseResult>,
    /// The cases that each run tries.
    runs: Mutex<HashMap<Uuid, Vec<String>>>,
}

impl AttackContext {
    /// Opens a context for these cases. `engine` must use the instance name of the installation.
    ///
    /// # Errors
    /// Explains to a person why no case can be tried.
    pub async fn open(
        target: Target,
        engine: Engine,
        outside: Outside,
        cases: Vec<Case>,
        results: UnboundedSender<CaseResult>,
    ) -> Result<Self, String> {
        let cgroups = Cgroups::detect(&engine).await.map_err(|error| error.to_string())?;
        let store = Store::open(&target.database_url, 2).map_err(|error| error.to_string())?;
        let host_canary =
            HostCanary::begin(&target.root).await.map_err(|error| format!("cannot watch this host: {error}"))?;
        let http = Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let cases = cases.into_iter().map(|case| (case.id.clone(), case)).collect();
        Ok(Self { target, http, store, engine, cgroups, host_canary, outside, cases, results, runs: Mutex::default() })
    }

    /// Whether this case was requested.
    #[must_use]
    pub fn wants(&self, id: &str) -> bool {
        self.cases.contains_key(id)
    }

    /// Those of these cases that were requested.
    #[must_use]
    pub fn wanted<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> HashSet<String> {
        ids.into_iter().filter(|id| self.wants(id)).map(str::to_owned).collect()
    }

    /// Reports the outcome of a case. The outcome of a case that was not requested is dropped.
    pub fn record(&self, id: &str, outcome: CaseOutcome) {
        if let Some(case) = self.cases.get(id) {
            // The receiver is gone only when the command is exiting.
            self.results.send(CaseResult { case: case.clone(), outcome }).ok();
        }
    }

    /// A request with the administrator's key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.as_holder(&self.target.key, method, path)
    }

    /// A request with another key.
    pub fn as_holder(&self, key: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.target.address)).bearer_auth(key)
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, String> {
        let response = request.send().await.map_err(|error| format!("no answer: {error}"))?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| format!("half an answer: {error}"))?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// Submits a project; each case submits as a user of its own.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn submit(&self, user: &str, template: &str, archive: Vec<u8>) -> Result<Answer, String> {
        let form = Form::new()
            .text("template", template.to_owned())
            .text("user", user.to_owned())
            .part("archive", Part::bytes(archive).file_name("project.zip"));
        self.send(self.request(Method::POST, "/v1/submissions").multipart(form)).await
    }

    /// Submits a project for these cases, and returns its run.
    ///
    /// # Errors
    /// The API did not accept the project.
    pub async fn begin(&self, cases: &[String], template: &str, archive: Vec<u8>) -> Result<Uuid, String> {
        let user = cases.first().map_or("attack", String::as_str);
        let answer = self.submit(user, template, archive).await?;
        let run = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let run = run.ok_or_else(|| format!("the project was not accepted: {}", answer.summary()))?;
        self.assign_run(run, cases);
        Ok(run)
    }

    /// Records the cases that a run tries.
    pub fn assign_run(&self, run: Uuid, cases: &[String]) {
        self.runs.lock().insert(run, cases.to_vec());
    }

    /// Waits for the end of a run and returns the run.
    ///
    /// # Errors
    /// The run did not end in time, or the API did not return it.
    pub async fn ended(&self, run: Uuid) -> Result<Value, String> {
        let begun = Stopwatch::start();
        loop {
            let answer = self.send(self.request(Method::GET, &format!("/v1/runs/{run}?wait=20"))).await?;
            let status = answer.body["status"].as_str().and_then(|status| status.parse::<Status>().ok());
            match status {
                Some(status) if status.is_terminal() => return Ok(answer.body),
                Some(status) if begun.elapsed() > RUN_TIMEOUT => {
                    return Err(format!("run {run} is still {status} after {} s", RUN_TIMEOUT.as_secs()));
                }
                Some(_) => {}
                None => return Err(format!("run {run}: {}", answer.summary())),
            }
        }
    }

    /// The whole output of a run.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn text(&self, run: Uuid) -> Result<String, String> {
        let answer = self.send(self.request(Method::GET, &format!("/v1/runs/{run}/output?format=text"))).await?;
        Ok(match answer.body {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// Looks for leftovers: a container of a run that has ended, or a process whose container is gone.
    pub async fn check_leftovers(&self) {
        let runs = self.runs.lock().clone();
        let begun = Stopwatch::start();
        let mut look = tokio::time::interval(Duration::from_millis(200));
        loop {
            look.tick().await;
            let ours = match self.engine.ours().await {
                Ok(ours) => ours,
                Err(error) => return self.doubt(&runs, &error.to_string()),
            };
            let left: Vec<Uuid> = ours
                .iter()
                .filter_map(|container| container.labels.as_ref()?.get(LABEL_RUN)?.parse().ok())
                .filter(|run| runs.contains_key(run))
                .collect();
            let known: HashSet<String> = ours.into_iter().filter_map(|container| container.id).collect();
            let strays = strays(&self.cgroups, &known);
            if left.is_empty() && strays == 0 {
                return;
            }
            if begun.elapsed() > LEFTOVER_TIMEOUT {
                for case in left.iter().filter_map(|run| runs.get(run)).flatten() {
                    self.record(case, CaseOutcome::Escaped("its container still exists".to_owned()));
                }
                if strays > 0 {
                    let all: HashMap<_, _> = runs.into_iter().filter(|_| left.is_empty()).collect();
                    for case in all.values().flatten() {
                        self.record(case, CaseOutcome::Escaped(format!("{strays} processes outlived their cells")));
                    }
                }
                return;
            }
        }
    }

    fn doubt(&self, runs: &HashMap<Uuid, Vec<String>>, why: &str) {
        for case in runs.values().flatten() {
            self.record(case, CaseOutcome::Inconclusive(format!("whether its container is gone is unknown: {why}")));
        }
    }
}

/// Processes in our cgroups whose container is gone.
fn strays(cgroups: &Cgroups, known: &HashSet<String>) -> usize {
    let entries = cgroups.parents().into_iter().filter_map(|parent| std::fs::read_dir(parent).ok()).flatten();
    let folders = entries.filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name();
        name.to_str().and_then(|name| cgroups.container_of(name)).is_some_and(|id| !known.contains(&id))
    });
    let processes = folders.filter_map(|folder| std::fs::read_to_string(folder.path().join("cgroup.procs")).ok());
    processes.map(|listed| listed.lines().count()).sum()
}
