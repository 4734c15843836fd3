//! An installation under the load of the plan, with its sampler, and the recording that comes of it. `make load` and
//! `make soak` differ only in what they do between its start and its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assize::installation::Settings;
use assize_domain::run::{Class, Status};
use assize_host::clock::Clock;
use tokio::process::Command;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::audit::{self, Violation, ViolationKind};
use super::history::{History, Row};
use super::installation::{Installation, Shape};
use super::load::{Load, Offer, Record};
use super::mix::Mix;
use super::recording::{End, Head, InjectedFault, Phase, Recording, RunRecord};
use super::sampler::Sampler;
use super::{closing, engine, head, operations, site};

/// The workers, and the slots of each: together those that the plan gives its host.
const WORKERS: u32 = 2;
const WORKER_SLOTS: u32 = 20;

/// The number of users of an organisation.
const USERS: u64 = 40;

/// The longest that any stage may take, in seconds.
const STAGE_TIMEOUT_S: u64 = 120;

/// The longest that a client follows a run, and that the last runs may take to end.
const RUN_TIMEOUT: Duration = Duration::from_secs(1200);

/// The longest that the first run may take.
const FIRST_RUN_TIMEOUT: Duration = Duration::from_secs(120);

/// An installation, the load on it, and what was recorded.
pub struct Testbed {
    pub installation: Installation,
    pub load: Arc<Load>,
    pub sampler: Sampler,
    pub phases: Vec<Phase>,
    pub faults: Vec<InjectedFault>,
    pub clock: Clock,
    head: Head,
    violations: Vec<Violation>,
}

impl Testbed {
    /// Starts everything with files under `folder`, and waits until a first run has passed.
    pub async fn start(command: &str, folder: &Path, seed: u64, sample: Duration) -> Result<Self> {
        let templates = std::env::var("TEMPLATES").unwrap_or_else(|_| "templates".to_owned());
        let mix = Mix::read(Path::new(&templates), &images().await?, seed)?;
        for (class, template) in mix.templates() {
            println!("{command}: class {class} is {template}");
        }
        let mut installation = Installation::start(&folder.join("site"), shape(&mix, Path::new(&templates))).await?;
        for _ in 0..WORKERS {
            let worker = installation.worker(&[]).await?;
            installation.workers.push(worker);
        }
        let clock = Clock::system();
        let head = head::describe(command, &installation, &mix, seed, clock.wall(), sample.as_secs_f64()).await?;
        let draw = Box::new(move |number| mix.draw(number));
        let offer = Offer { draw, users: USERS, run_timeout: RUN_TIMEOUT };
        let load = Load::new(&installation.url, installation.orgs.clone(), offer)?;
        load.canary(FIRST_RUN_TIMEOUT).await.context("the first run did not end")?;
        let sampler = Sampler::start(&installation, sample);
        let (phases, faults, violations) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { installation, load, sampler, phases, faults, clock, head, violations })
    }

    /// Stops new submissions and waits until all runs have ended.
    pub async fn drain(&self, clients: JoinSet<()>) -> Result<()> {
        self.load.stop();
        operations::all_ended(clients, RUN_TIMEOUT).await;
        closing::wait_for_ends(&self.installation, RUN_TIMEOUT).await
    }

    /// Writes what was recorded so far.
    async fn write(&self, folder: &Path) -> Result<Recording> {
        let history = History::read(&self.installation.pool).await?;
        let (records, slots) = (self.load.records(), self.installation.shape.total_slots);
        let found = audit::examine(&history, &records, &self.installation.cells.lifetimes(), slots);
        let mut violations = [found.violations, self.violations.clone()].concat();
        violations.sort();
        violations.dedup();
        let mut head = self.head.clone();
        head.ended_at = self.phases.last().map_or(self.clock.wall(), |phase| phase.until);
        let rows: BTreeMap<u64, &Row> = history.rows.values().filter_map(|row| Some((row.number()?, row))).collect();
        let runs = records.iter().map(|record| run_record(record, rows.get(&record.number).copied())).collect();
        let mut events: Vec<_> = history.events.into_values().flatten().collect();
        events.sort_by_key(|event| event.id);
        let recording = Recording {
            head,
            phases: self.phases.clone(),
            faults: self.faults.clone(),
            runs,
            events,
            samples: self.sampler.samples(),
            violations,
        };
        recording.write(folder)?;
        Ok(recording)
    }

    /// Stops all workers, looks for what is left, writes the recording and ends the installation. The site is kept if
    /// there is a violation.
    pub async fn close(mut self, folder: &Path) -> Result<Recording> {
        // What was recorded must not be lost if something fails below.
        self.write(folder).await?;
        let left = closing::stop_workers(&mut self.installation).await?;
        self.violations.extend(left);
        let ends = self.installation.ends();
        self.head.notes.extend(ends.into_iter().map(|end| format!("A process ended by itself: {end}")));
        let recording = self.write(folder).await?;
        self.installation.close(!recording.violations.is_empty()).await?;
        Ok(recording)
    }

    /// Adds what a fault showed.
    pub fn violate(&mut self, what: impl Into<String>) {
        self.violations.push(Violation::new(ViolationKind::Illegal, what));
    }
}

impl Testbed {
    /// Adds a sentence to the description of the recording.
    pub fn note(&mut self, note: &str) {
        self.head.notes.push(note.to_owned());
    }
}

/// Returns the tags of the images of the host's engine.
async fn images() -> Result<Vec<String>> {
    let arguments = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"];
    let output = Command::new("docker").args(arguments).output().await.context("docker is not installed")?;
    ensure!(output.status.success(), "the host's engine does not list its images; run `make images`");
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn shape(mix: &Mix, templates: &Path) -> Shape {
    let (names, mut images) = mix.real();
    images.extend(engine::BASE_IMAGES.map(str::to_owned));
    let slots = WORKERS * WORKER_SLOTS;
    Shape {
        worker_slots: WORKER_SLOTS,
        total_slots: slots,
        images,
        templates: Some((templates.to_owned(), names)),
        is_small: false,
        settings: Settings::default()
            .with("per_org_max_active", slots)
            .with("per_user_max_active", slots)
            .with("max_stage_timeout_s", STAGE_TIMEOUT_S)
            .with("min_free_disk_mib", 1024),
    }
}

fn run_record(record: &Record, row: Option<&Row>) -> RunRecord {
    let is_expected = |row: &Row| {
        let status = row.status().ok().filter(|status| status.is_terminal());
        status.is_some_and(|status| {
            audit::is_expected(row, status, record.expected) || status == Status::Aborted && record.cancel_asked
        })
    };
    let end = |row: &Row| End {
        status: row.status.clone(),
        cause: row.cause.clone(),
        code: row.failure_code.clone(),
        stage: row.phase.clone(),
        attempt: row.attempt,
        score: row.score,
        started_at: row.started_at,
        finished_at: row.finished_at,
        is_expected: is_expected(row),
    };
    RunRecord {
        number: record.number,
        run: record.run,
        class: row.and_then(|row| Class::from_half_slots(row.half_slots)),
        template: record.template.clone(),
        project: record.project.clone(),
        intended_at: record.intended_at,
        sent_at: record.sent_at,
        accepted_at: record.accepted_at,
        seen_end_at: record.seen_end_at,
        estimate: record.estimate.clone(),
        cancel_asked: record.cancel_asked,
        end: row.map(end),
    }
}

/// Creates the folder of a new recording, named by its start, and points `latest` to it.
pub fn result_folder(folder: &Path, clock: &Clock) -> Result<PathBuf> {
    let name = clock.wall().format("%Y%m%dT%H%M%SZ").to_string();
    let result = folder.join(&name);
    std::fs::create_dir_all(&result)?;
    let latest = folder.join("latest");
    std::fs::remove_file(&latest).ok();
    std::os::unix::fs::symlink(&name, &latest)?;
    Ok(result)
}

/// Returns the number that an environment variable holds, or `default` if it is not set.
pub fn number(name: &str, default: f64) -> Result<f64> {
    let text = std::env::var(name).unwrap_or_default();
    if text.is_empty() {
        return Ok(default);
    }
    let value: f64 = text.parse().with_context(|| format!("{name}={text} is not a number"))?;
    ensure!(value.is_finite() && value >= 0.0, "{name}={text} must be at least 0");
    Ok(value)
}

/// Returns the whole number that an environment variable holds; `None` if it is not set.
pub fn whole(name: &str) -> Result<Option<u64>> {
    let text = std::env::var(name).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).with_context(|| format!("{name}={text} is not a whole number"))
}

/// Returns the seed: `SEED`, or a drawn one.
pub fn seed() -> Result<u64> {
    Ok(whole("SEED")?.unwrap_or_else(|| u64::from(rand::random::<u32>())))
}

/// Describes a violation on one line.
pub fn describe(violation: &Violation) -> String {
    let run = violation.run.map(|run: Uuid| format!(" run {run}:")).unwrap_or_default();
    format!("{:?}:{run} {}", violation.sort, violation.what)
}

/// Locks the folder of a command below `target/`.
pub async fn folder(command: &str) -> Result<(PathBuf, std::fs::File)> {
    let folder = site::target().join(command);
    let lock = site::lock(&folder).await?;
    Ok((folder, lock))
}
