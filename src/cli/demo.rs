//! `assize demo`: every sample of every template, and whether each ended as it must.

mod board;
mod expect;

use std::path::Path;
use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt};
use serde_json::Value;
use uuid::Uuid;

use self::board::Board;
use self::expect::{Sample, end_of, samples};
use super::signals;
use super::up::{self, LocalService};
use crate::installation::Listen;
use assize_client::client::{Client, Handin, Project, Server, read};
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::pack::pack;
use assize_client::report::{Run, ink_of};
use assize_client::runs::items;
use assize_client::screen::{self, Ink, Screen};
use assize_client::submit::Accepted;
use assize_config::Config;
use assize_domain::run::Status;
use assize_host::clock;

/// Uploads at one time.
const UPLOADS: usize = 4;

/// Between two looks at all runs: one request for a hundred of them.
const LOOK: Duration = Duration::from_millis(300);

/// Runs that one request may ask for.
const BATCH: usize = 100;

const EXAMPLES: &str = "\
EXAMPLES:
  assize demo                       against a running service
  assize demo --up                  starts one, shows the samples, stops it
  assize demo --up --keep           leaves it serving until ctrl-c
  assize demo --template trivial --json";

/// Submit the samples of all templates and check how each ends.
///
/// Every template brings projects that pass, fail and misbehave, with what each must come to. The
/// exit code is 0 if all did, 1 if one came out otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Demo {
    /// Only the samples of these templates.
    #[arg(long, value_name = "NAME")]
    template: Vec<String>,
    /// Start a whole installation first, as `assize up` does, and stop it afterwards.
    #[arg(long)]
    up: bool,
    /// With --up: leave it serving until ctrl-c.
    #[arg(long, requires = "up")]
    keep: bool,
    /// With --up: port of the API on 127.0.0.1.
    #[arg(long, default_value_t = 7700, value_parser = clap::value_parser!(u16).range(1..=65533))]
    port: u16,
    /// What each sample came to as JSON on stdout; progress goes to stderr.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] for a person.
pub async fn run(command: Demo, config: Config, config_file: Option<&Path>) -> Outcome {
    let screen = Screen::progress(command.json);
    let mut all = samples(&config.templates_dir)?;
    if let Some(unknown) = command.template.iter().find(|name| all.iter().all(|sample| sample.template != **name)) {
        return Err(Fault::usage(format!(
            "there is no template {unknown} with samples in {}",
            config.templates_dir.display()
        )));
    }
    all.retain(|sample| command.template.is_empty() || command.template.contains(&sample.template));
    if !command.up {
        return show(&command.server.client()?, &all, screen, command.json).await;
    }
    let stop = signals::stop(false)?;
    let data = command.server.data.clone();
    let launcher = up::launcher(data, Listen::from_port(command.port), &config, config_file)?;
    let mut service = LocalService::start(launcher, screen, &stop).await?;
    service.describe(screen, &config);
    screen.line("");
    let client = Client::new(&service.installation.url(), &service.key)?;
    let mut outcome = tokio::select! {
        outcome = show(&client, &all, screen, command.json) => outcome,
        error = service.installation.ended() => Err(error.into()),
        () = stop.cancelled() => Ok(Exit::Interrupted),
    };
    if command.keep && outcome.is_ok() && !stop.is_cancelled() {
        screen.line("it goes on serving; ctrl-c stops it");
        if let Err(fault) = service.serve(screen, &stop).await {
            outcome = Err(fault);
        }
    }
    service.stop(screen).await;
    outcome
}

/// A sample on its way.
struct Tried<'a> {
    sample: &'a Sample,
    id: Uuid,
    run: Option<Run>,
}

impl Tried<'_> {
    fn ended(&self) -> Option<&Run> {
        self.run.as_ref().filter(|run| run.status.is_terminal())
    }

    fn is_as_expected(&self) -> bool {
        self.ended().is_some_and(|run| self.sample.expected.holds(run))
    }
}

/// Submits all, waits for all, tells all.
async fn show(client: &Client, all: &[Sample], screen: Screen, as_json: bool) -> Outcome {
    screen.line(format!("submitting {} samples to {}", all.len(), client.url()));
    let begun = clock::monotonic();
    let submitted = futures_util::stream::iter(all.iter().map(|sample| submit(client, sample)));
    let mut tried: Vec<Tried<'_>> = submitted.buffered(UPLOADS).try_collect().await?;
    let names = tried.iter().map(|tried| format!("{}/{}", tried.sample.template, tried.sample.name)).collect();
    let mut board = Board::new(screen, names);
    while tried.iter().any(|tried| tried.ended().is_none()) {
        look(client, &mut tried).await?;
        for (line, tried) in tried.iter().enumerate() {
            if let Some(run) = &tried.run {
                let (ink, state) = state_of(tried, run);
                board.set(line, ink, state);
            }
        }
        board.draw();
        tokio::time::sleep(LOOK).await;
    }
    let wrong = tried.iter().filter(|tried| !tried.is_as_expected()).count();
    if as_json {
        screen::json(&tried.iter().map(document).collect::<Vec<_>>());
    } else {
        tell(screen, &tried);
        let took = begun.elapsed().as_secs();
        let (ink, text) = match wrong {
            0 => (Ink::Good, format!("all {} samples ended as they must, in {took} s", tried.len())),
            _ => (Ink::Bad, format!("{wrong} of {} samples ended otherwise, in {took} s", tried.len())),
        };
        screen.line(screen.paint(ink, text));
    }
    Ok(if wrong == 0 { Exit::Success } else { Exit::TestsFailed })
}

async fn submit<'a>(client: &Client, sample: &'a Sample) -> Result<Tried<'a>, Fault> {
    let packed = pack(&sample.folder)?;
    // A user each, so that the limits per user do not make them wait for one another.
    let user = format!("demo-{}-{}", sample.template, sample.name);
    let handin = Handin { template: &sample.template, user: &user, metadata: None, idempotency_key: None };
    let accepted: Accepted = read("submission", &client.submit(Project::Archive(packed), &handin).await?)?;
    Ok(Tried { sample, id: accepted.run.id, run: None })
}

/// Asks for all runs that have not ended.
async fn look(client: &Client, tried: &mut [Tried<'_>]) -> Result<(), Fault> {
    let waiting: Vec<Uuid> = tried.iter().filter(|tried| tried.ended().is_none()).map(|tried| tried.id).collect();
    for ids in waiting.chunks(BATCH) {
        let ids = ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(",");
        let answer = client.get(&format!("/v1/runs?ids={ids}")).await?;
        let runs: Vec<Run> = read("list of runs", items(&answer, "runs"))?;
        for run in runs {
            if let Some(tried) = tried.iter_mut().find(|tried| tried.id == run.id) {
                tried.run = Some(run);
            }
        }
    }
    Ok(())
}

fn state_of(tried: &Tried<'_>, run: &Run) -> (Ink, String) {
    if !run.status.is_terminal() {
        let again = if run.attempt > 1 { format!(" (attempt {})", run.attempt) } else { String::new() };
        return (ink_of(run.status), format!("{}{again}", run.whereabouts()));
    }
    let took = run.took().map_or_else(String::new, |took| format!("  {took}"));
    let (ink, sign) = if tried.is_as_expected() { (Ink::Good, "ok") } else { (Ink::Bad, "WRONG") };
    (ink, format!("{sign}  {}{took}", end_of(run)))
}

fn tell(screen: Screen, tried: &[Tried<'_>]) {
    let rows = tried.iter().map(|tried| {
        let (ink, sign) = if tried.is_as_expected() { (Ink::Good, "ok") } else { (Ink::Bad, "WRONG") };
        vec![
            (Ink::Plain, tried.sample.template.clone()),
            (Ink::Plain, tried.sample.name.clone()),
            (Ink::Plain, tried.sample.expected.to_string()),
            (if ink == Ink::Good { Ink::Plain } else { ink }, tried.ended().map(end_of).unwrap_or_default()),
            (Ink::Dim, tried.ended().and_then(Run::took).unwrap_or_default()),
            (ink, sign.to_owned()),
        ]
    });
    screen.line("");
    screen.table(&["template", "sample", "expected", "actual", "took", ""], rows.collect());
    for tried in tried.iter().filter(|tried| !tried.is_as_expected()) {
        screen.line(format!("{}/{}: assize status {}", tried.sample.template, tried.sample.name, tried.id));
        if let Some(mistake) = tried.ended().and_then(|run| tried.sample.expected.mistake(run)) {
            screen.line(screen.paint(Ink::Bad, format!("  {mistake}")));
        }
    }
}

fn document(tried: &Tried<'_>) -> Value {
    let run = tried.ended();
    serde_json::json!({
        "template": tried.sample.template,
        "sample": tried.sample.name,
        "run_id": tried.id,
        "expected": tried.sample.expected.to_string(),
        "actual": run.map(end_of),
        "status": run.map_or(Status::Queued, |run| run.status),
        "ok": tried.is_as_expected(),
        "mistake": run.and_then(|run| tried.sample.expected.mistake(run)),
    })
}
