//! The load: a client that submits projects, follows their runs and cancels some.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use assize_host::clock::{Clock, Stopwatch};
use chrono::{DateTime, TimeDelta, Utc};
use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::projects::{self, Expected, Project};
use super::recording::Estimate;

/// The longest that one request may take. A request that waits for a run takes less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the client retries a submission.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(150);

/// The time between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// An organisation that submits.
#[derive(Debug, Clone)]
pub struct Org {
    pub key: String,
}

/// A submission, as the client knows it.
#[derive(Debug, Clone)]
pub struct Record {
    pub number: u64,
    pub project: String,
    pub template: String,
    pub expected: Expected,
    /// The index of its organisation.
    pub org: usize,
    /// When the schedule had it, and when the client began to send it.
    pub intended_at: DateTime<Utc>,
    pub sent_at: DateTime<Utc>,
    /// The id of the run in the 202 response, and when the client had it.
    pub run: Option<Uuid>,
    pub accepted_at: Option<DateTime<Utc>>,
    /// The first answer that estimated the start.
    pub estimate: Option<Estimate>,
    pub cancel_asked: bool,
    /// The end as the API returned it, and when the client saw it.
    pub end: Option<ReportedEnd>,
    pub seen_end_at: Option<DateTime<Utc>>,
}

/// What the API returned of a run that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedEnd {
    pub status: Option<String>,
    pub score: Option<f64>,
}

/// Returns the project of a number.
pub type Draw = Box<dyn Fn(u64) -> Project + Send + Sync>;

/// What a load consists of.
pub struct Offer {
    pub draw: Draw,
    /// The number of users of an organisation.
    pub users: u64,
    /// The longest that the client follows a run.
    pub run_timeout: Duration,
}

/// The load, with a record of every submission.
pub struct Load {
    pub url: String,
    pub orgs: Vec<Org>,
    http: reqwest::Client,
    clock: Clock,
    offer: Offer,
    next: AtomicU64,
    records: Mutex<BTreeMap<u64, Record>>,
    /// The number of responses other than 202, by HTTP status and code.
    refusals: Mutex<BTreeMap<String, u64>>,
    stop: watch::Sender<bool>,
}

/// The first number of canaries and other single submissions.
const SINGLE: u64 = 1 << 40;

impl Load {
    pub fn new(url: &str, orgs: Vec<Org>, offer: Offer) -> Result<Arc<Self>> {
        let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).no_proxy().build()?;
        Ok(Arc::new(Self {
            url: url.to_owned(),
            orgs,
            http,
            clock: Clock::system(),
            offer,
            next: AtomicU64::new(0),
            records: Mutex::default(),
            refusals: Mutex::default(),
            stop: watch::Sender::new(false),
        }))
    }

    /// Keeps `in_flight` runs in flight until [`Load::stop`]. The first of them are submitted one after another within
    /// `ramp`.
    pub fn begin(self: &Arc<Self>, in_flight: usize, ramp: Duration) -> JoinSet<()> {
        self.stop.send_replace(false);
        let mut clients = JoinSet::new();
        let step = ramp / u32::try_from(in_flight).unwrap_or(u32::MAX).max(1);
        for client in 0..in_flight {
            let load = Arc::clone(self);
            let mut stopped = self.stop.subscribe();
            clients.spawn(async move {
                let delay = step * u32::try_from(client).unwrap_or(0);
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
                while !*load.stop.borrow() {
                    // Each client takes its next number only when its run has ended.
                    load.one(load.clock.wall()).await;
                }
            });
        }
        clients
    }

    /// Submits `rate` projects per second for `duration`, by a schedule that waits for no run. Returns the clients that
    /// follow the runs, and the number of arrivals that were left out because `max_in_flight` clients were busy.
    pub async fn open(self: &Arc<Self>, rate: f64, duration: Duration, max_in_flight: usize) -> (JoinSet<()>, u64) {
        let begun = self.clock.wall();
        let (mut clients, mut unsent, mut intended) = (JoinSet::new(), 0, begun);
        let step = TimeDelta::from_std(Duration::from_secs_f64(1.0 / rate)).unwrap_or(TimeDelta::seconds(1));
        let end = begun + TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
        while intended < end {
            tokio::time::sleep((intended - self.clock.wall()).to_std().unwrap_or(Duration::ZERO)).await;
            while clients.try_join_next().is_some() {}
            if clients.len() < max_in_flight {
                let load = Arc::clone(self);
                clients.spawn(async move { load.one(intended).await });
            } else {
                unsent += 1;
            }
            intended += step;
        }
        (clients, unsent)
    }

    /// Stops new submissions.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    async fn one(&self, intended_at: DateTime<Utc>) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let project = (self.offer.draw)(number);
        let loaders = u64::try_from(self.orgs.len()).unwrap_or(1).saturating_sub(1).max(1);
        // The last organisation submits only canaries.
        let org = usize::try_from(number % loaders).unwrap_or(0);
        if let Ok(run) = self.submit(number, org, &project, intended_at).await {
            self.end_of(number, run, self.offer.run_timeout).await.ok();
        }
    }

    /// Submits a project of this name outside the load, and returns its number and its run.
    pub async fn single(&self, name: &'static str) -> Result<(u64, Uuid)> {
        let number = SINGLE + self.next.fetch_add(1, Ordering::SeqCst);
        let project = projects::project(name, &mut StdRng::seed_from_u64(number));
        let run = self.submit(number, self.orgs.len() - 1, &project, self.clock.wall()).await?;
        Ok((number, run))
    }

    /// Submits a run that passes at once, waits until it has ended, and returns how long that took.
    pub async fn canary(&self, timeout: Duration) -> Result<Duration> {
        let begun = Stopwatch::start();
        let (number, run) = self.single("pass").await?;
        self.end_of(number, run, timeout).await?;
        Ok(begun.elapsed())
    }

    /// Submits a project as a platform would: it retries with the same key until it receives a 202.
    async fn submit(&self, number: u64, org: usize, project: &Project, intended_at: DateTime<Utc>) -> Result<Uuid> {
        let archive = project.archive()?;
        let record = Record {
            number,
            project: project.name.clone(),
            template: project.template.clone(),
            expected: project.expected,
            org,
            intended_at,
            sent_at: self.clock.wall(),
            run: None,
            accepted_at: None,
            estimate: None,
            cancel_asked: false,
            end: None,
            seen_end_at: None,
        };
        self.change(|records| drop(records.insert(number, record)));
        let begun = Stopwatch::start();
        while begun.elapsed() < SUBMIT_TIMEOUT {
            match self.post(number, org, project, archive.clone()).await {
                Ok((StatusCode::ACCEPTED, body)) => {
                    let run = body["run"]["id"].as_str().context("the 202 names no run")?.parse()?;
                    let now = self.clock.wall();
                    self.with(number, |record| (record.run, record.accepted_at) = (Some(run), Some(now)));
                    return Ok(run);
                }
                Ok((status, body)) => {
                    self.note(&format!("{} {}", status.as_u16(), body["code"].as_str().unwrap_or("?")))
                }
                Err(error) => self.note(if error.is_timeout() { "no answer in time" } else { "connection lost" }),
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        bail!("submission {number} was not accepted within {} s", SUBMIT_TIMEOUT.as_secs())
    }

    async fn post(
        &self,
        number: u64,
        org: usize,
        project: &Project,
        archive: Vec<u8>,
    ) -> Result<(StatusCode, Value), reqwest::Error> {
        let form = Form::new()
            .text("template", project.template.clone())
            .text("user", format!("user-{}", number / 7 % self.offer.users))
            .text("metadata", format!("{{\"number\": {number}}}"))
            .part("archive", Part::bytes(archive).file_name("project.zip"));
        let request = self.http.post(format!("{}/v1/submissions", self.url)).bearer_auth(&self.orgs[org].key);
        let answer = request.header("Idempotency-Key", format!("chaos-{number}")).multipart(form).send().await?;
        let status = answer.status();
        Ok((status, answer.json().await.unwrap_or_default()))
    }

    /// Posts a new archive once, and returns the HTTP status.
    pub async fn probe(&self, archive: Vec<u8>) -> Result<u16> {
        let number = SINGLE + self.next.fetch_add(1, Ordering::SeqCst);
        let project = projects::project("pass", &mut StdRng::seed_from_u64(number));
        let (status, _) = self.post(number, self.orgs.len() - 1, &project, archive).await?;
        Ok(status.as_u16())
    }

    /// Waits through the API until a run has ended.
    pub async fn end_of(&self, number: u64, run: Uuid, timeout: Duration) -> Result<Value> {
        let begun = Stopwatch::start();
        // The first answer comes at once: it has the first estimate of the start.
        let mut query = "";
        while begun.elapsed() < timeout {
            match self.read(number, run, query).await {
                Ok(seen) if !seen["finished_at"].is_null() => {
                    let now = self.clock.wall();
                    let text = seen["status"].as_str().map(str::to_owned);
                    let end = ReportedEnd { status: text, score: seen["score"].as_f64() };
                    self.with(number, |record| (record.end, record.seen_end_at) = (Some(end), Some(now)));
                    return Ok(seen);
                }
                Ok(seen) => {
                    self.note_estimate(number, &seen["queue"]);
                    query = "?wait=5";
                }
                Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
        bail!("run {run} did not end within {} s", timeout.as_secs())
    }

    /// Keeps the first estimate, or the first reason to wait while there is none.
    fn note_estimate(&self, number: u64, queue: &Value) {
        let Some(waiting_for) = queue["waiting_for"].as_str() else { return };
        let start = queue["estimated_start"].as_str().and_then(|text| text.parse().ok());
        let estimate = Estimate { asked_at: self.clock.wall(), start, waiting_for: waiting_for.to_owned() };
        self.with(number, |record| {
            if record.estimate.as_ref().is_none_or(|earlier| earlier.start.is_none() && start.is_some()) {
                record.estimate = Some(estimate);
            }
        });
    }

    /// Returns the run from the API.
    pub async fn read(&self, number: u64, run: Uuid, query: &str) -> Result<Value> {
        let request = self.http.get(format!("{}/v1/runs/{run}{query}", self.url)).bearer_auth(self.key_of(number));
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// Returns all output of a run, by attempt.
    pub async fn output(&self, number: u64, run: Uuid) -> Result<BTreeMap<String, String>> {
        let url = format!("{}/v1/runs/{run}/output", self.url);
        let request = self.http.get(url).bearer_auth(self.key_of(number));
        let whole: Value = request.send().await?.error_for_status()?.json().await?;
        let mut by_attempt = BTreeMap::<String, String>::new();
        for entry in whole["entries"].as_array().into_iter().flatten() {
            // Ids are "<attempt>-<number>".
            let attempt = entry["id"].as_str().and_then(|id| id.split('-').next()).unwrap_or_default();
            by_attempt.entry(attempt.to_owned()).or_default().push_str(entry["text"].as_str().unwrap_or_default());
        }
        Ok(by_attempt)
    }

    /// Requests a cancellation. The response does not matter here.
    pub async fn cancel(&self, number: u64, run: Uuid) {
        self.with(number, |record| record.cancel_asked = true);
        let url = format!("{}/v1/runs/{run}/cancel", self.url);
        self.http.post(url).bearer_auth(self.key_of(number)).send().await.ok();
    }

    /// Returns the runs of the load that have not ended, as far as the client knows.
    pub fn under_way(&self) -> Vec<(u64, Uuid)> {
        let open = |record: &Record| record.run.filter(|_| record.end.is_none() && record.number < SINGLE);
        self.records().into_iter().filter_map(|record| Some((record.number, open(&record)?))).collect()
    }

    pub fn records(&self) -> Vec<Record> {
        self.records.lock().map(|records| records.values().cloned().collect()).unwrap_or_default()
    }

    pub fn refusals(&self) -> BTreeMap<String, u64> {
        self.refusals.lock().map(|refusals| refusals.clone()).unwrap_or_default()
    }

    fn key_of(&self, number: u64) -> &str {
        let org = self.records.lock().ok().and_then(|records| Some(records.get(&number)?.org));
        &self.orgs[org.unwrap_or(self.orgs.len() - 1)].key
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u64, Record>)) {
        if let Ok(mut records) = self.records.lock() {
            change(&mut records);
        }
    }

    fn with(&self, number: u64, change: impl FnOnce(&mut Record)) {
        self.change(|records| {
            if let Some(record) = records.get_mut(&number) {
                change(record);
            }
        });
    }

    fn note(&self, refusal: &str) {
        if let Ok(mut refusals) = self.refusals.lock() {
            *refusals.entry(refusal.to_owned()).or_default() += 1;
        }
    }
}
