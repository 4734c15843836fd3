//! The installation under attack, as the attacker and as its operator see it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;

use super::blame::outside::Outside;
use super::case::{Case, Finding, Judgement};
use super::witness::Witness;
use assize_cell::Engine;
use assize_cell::counters::Cgroups;
use assize_cell::spec::LABEL_RUN;
use assize_domain::run::Status;
use assize_host::clock;
use assize_store::Store;

/// The longest that a run may take, its wait for a slot included.
const RUN_PATIENCE: Duration = Duration::from_secs(180);

/// One answer of the API.
const ANSWER_PATIENCE: Duration = Duration::from_secs(75);

/// Within this time the last cell of a run that has ended must be gone: the janitor's own promise.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(60);

/// Runs at one time; the installation has as many half-slots.
pub const AT_ONCE: usize = 4;

/// The installation, and who may do what there.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Of an administrator.
    pub key: String,
    pub database_url: String,
    /// Its folder: logs, blobs, spool, templates.
    pub root: PathBuf,
}

/// What the service answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The problem's code; empty if it is none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Status and code, or status and text, in a few words.
    #[must_use]
    pub fn told(&self) -> String {
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

/// Everything that the attacks share.
pub struct Arena {
    pub target: Target,
    pub http: Client,
    pub store: Store,
    pub engine: Engine,
    pub cgroups: Cgroups,
    pub witness: Witness,
    pub outside: Outside,
    cases: HashMap<String, Case>,
    findings: UnboundedSender<Finding>,
    /// Which run tried which cases.
    runs: Mutex<HashMap<Uuid, Vec<String>>>,
}

impl Arena {
    /// An arena for these cases. `engine` names its containers as the installation does.
    ///
    /// # Errors
    /// Why nothing can be tried, for a person.
    pub async fn open(
        target: Target,
        engine: Engine,
        outside: Outside,
        cases: Vec<Case>,
        findings: UnboundedSender<Finding>,
    ) -> Result<Self, String> {
        let cgroups = Cgroups::of(&engine).await.map_err(|error| error.to_string())?;
        let store = Store::open(&target.database_url, 2).map_err(|error| error.to_string())?;
        let witness = Witness::begin(&target.root).await.map_err(|error| format!("cannot watch this host: {error}"))?;
        let http = Client::builder()
            .timeout(ANSWER_PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let cases = cases.into_iter().map(|case| (case.id.clone(), case)).collect();
        Ok(Self { target, http, store, engine, cgroups, witness, outside, cases, findings, runs: Mutex::default() })
    }

    /// Whether this case was asked for.
    #[must_use]
    pub fn wants(&self, id: &str) -> bool {
        self.cases.contains_key(id)
    }

    /// The cases of these that were asked for.
    #[must_use]
    pub fn wanted<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> HashSet<String> {
        ids.into_iter().filter(|id| self.wants(id)).map(str::to_owned).collect()
    }

    /// Says what became of a case; one that was not asked for is nobody's business.
    pub fn judge(&self, id: &str, judgement: Judgement) {
        if let Some(case) = self.cases.get(id) {
            // Without a listener the command is on its way out.
            self.findings.send(Finding { case: case.clone(), judgement }).ok();
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
    /// If there was no answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, String> {
        let response = request.send().await.map_err(|error| format!("no answer: {error}"))?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| format!("half an answer: {error}"))?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// Hands a project in; each case is a user of its own.
    ///
    /// # Errors
    /// If there was no answer.
    pub async fn submit(&self, user: &str, template: &str, archive: Vec<u8>) -> Result<Answer, String> {
        let form = Form::new()
            .text("template", template.to_owned())
            .text("user", user.to_owned())
            .part("archive", Part::bytes(archive).file_name("project.zip"));
        self.send(self.request(Method::POST, "/v1/submissions").multipart(form)).await
    }

    /// Hands in a project that must be taken, for these cases.
    ///
    /// # Errors
    /// If it was not taken.
    pub async fn begin(&self, cases: &[String], template: &str, archive: Vec<u8>) -> Result<Uuid, String> {
        let user = cases.first().map_or("attack", String::as_str);
        let answer = self.submit(user, template, archive).await?;
        let run = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let run = run.ok_or_else(|| format!("the project was not taken: {}", answer.told()))?;
        self.of(run, cases);
        Ok(run)
    }

    /// Notes which cases a run tries.
    pub fn of(&self, run: Uuid, cases: &[String]) {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).insert(run, cases.to_vec());
    }

    /// The run when it has ended.
    ///
    /// # Errors
    /// If it does not end, or the API does not say.
    pub async fn ended(&self, run: Uuid) -> Result<Value, String> {
        let begun = clock::monotonic();
        loop {
            let answer = self.send(self.request(Method::GET, &format!("/v1/runs/{run}?wait=20"))).await?;
            let status = answer.body["status"].as_str().and_then(|status| status.parse::<Status>().ok());
            match status {
                Some(status) if status.is_terminal() => return Ok(answer.body),
                Some(status) if begun.elapsed() > RUN_PATIENCE => {
                    return Err(format!("run {run} is still {status} after {} s", RUN_PATIENCE.as_secs()));
                }
                Some(_) => {}
                None => return Err(format!("run {run}: {}", answer.told())),
            }
        }
    }

    /// All that a run wrote.
    ///
    /// # Errors
    /// If there was no answer.
    pub async fn text(&self, run: Uuid) -> Result<String, String> {
        let answer = self.send(self.request(Method::GET, &format!("/v1/runs/{run}/output?format=text"))).await?;
        Ok(match answer.body {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }

    /// Looks for what was left behind: a container of a run that has ended, or a process without one.
    pub async fn check_leftovers(&self) {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let begun = clock::monotonic();
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
            if begun.elapsed() > LEFTOVER_PATIENCE {
                for case in left.iter().filter_map(|run| runs.get(run)).flatten() {
                    self.judge(case, Judgement::Escaped("its container is still there".to_owned()));
                }
                if strays > 0 {
                    let all: HashMap<_, _> = runs.into_iter().filter(|_| left.is_empty()).collect();
                    for case in all.values().flatten() {
                        self.judge(case, Judgement::Escaped(format!("{strays} processes outlived their cells")));
                    }
                }
                return;
            }
        }
    }

    fn doubt(&self, runs: &HashMap<Uuid, Vec<String>>, why: &str) {
        for case in runs.values().flatten() {
            self.judge(case, Judgement::Unjudged(format!("nobody can say whether its container is gone: {why}")));
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
