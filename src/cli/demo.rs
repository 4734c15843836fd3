//! `assize demo`: runs every sample of every template and checks how each ends.

mod board;
pub(super) mod expect;

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
use assize_client::client::{Client, Project, ServerOptions, SubmissionFields, read};
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::pack::{Selection, pack};
use assize_client::report::{Run, style_of};
use assize_client::runs::items;
use assize_client::submit::Accepted;
use assize_client::terminal::{self, Style, Terminal};
use assize_config::Config;
use assize_domain::run::Status;
use assize_host::clock::Stopwatch;

/// The number of concurrent uploads.
const UPLOADS: usize = 4;

/// The time between two requests for the state of all runs.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// The number of runs in one request.
const BATCH: usize = 100;

const EXAMPLES: &str = "\
EXAMPLES:
  assize demo                       (uses a running service)
  assize demo --up                  (starts a service, runs the samples, stops it)
  assize demo --up --keep           (then serves until ctrl-c)
  assize demo --template trivial --json";

/// Submit the samples of all templates and check how each ends.
///
/// The samples of a template are projects that pass, fail or misbehave, and the template declares how each must
/// end. The exit code is 0 if all samples ended as declared, and 1 if one did not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Demo {
    /// Submit only the samples of this template. The option can be repeated.
    #[arg(long, value_name = "NAME")]
    template: Vec<String>,
    /// Start a service first, as `assize up` does, and stop it afterwards.
    #[arg(long)]
    up: bool,
    /// With --up: serve until ctrl-c after the samples have ended.
    #[arg(long, requires = "up")]
    keep: bool,
    /// With --up: serve the API on this port of 127.0.0.1. The next two ports serve the metrics.
    #[arg(long, default_value_t = 7700, value_parser = clap::value_parser!(u16).range(1..=65533))]
    port: u16,
    /// Print how each sample ended as JSON. Progress goes to stderr.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn run(command: Demo, config: Config, config_file: Option<&Path>) -> Outcome {
    let terminal = Terminal::progress(command.json);
    let mut all = samples(&config.templates_dir)?;
    if let Some(unknown) = command.template.iter().find(|name| all.iter().all(|sample| sample.template != **name)) {
        return Err(Fault::usage(format!(
            "no template {unknown} with samples exists in {}",
            config.templates_dir.display()
        )));
    }
    all.retain(|sample| command.template.is_empty() || command.template.contains(&sample.template));
    if !command.up {
        return show(&command.server.client()?, &all, terminal, command.json).await;
    }
    let stop = signals::shutdown_token(false)?;
    let data = command.server.data.clone();
    let launcher = up::launcher(data, Listen::from_port(command.port), &config, config_file)?;
    let mut service = LocalService::start(launcher, terminal, &stop).await?;
    // What is stopped when the samples are done is not for others to use.
    if command.keep {
        service.describe(terminal, &config);
        terminal.line("");
    }
    let client = Client::new(&service.installation.url(), &service.key)?;
    let mut outcome = tokio::select! {
        outcome = show(&client, &all, terminal, command.json) => outcome,
        error = service.installation.ended() => Err(error.into()),
        () = stop.cancelled() => Ok(Exit::Interrupted),
    };
    if command.keep && outcome.is_ok() && !stop.is_cancelled() {
        terminal.line("the service keeps running; ctrl-c stops it");
        if let Err(fault) = service.serve(terminal, &stop).await {
            outcome = Err(fault);
        }
    }
    service.stop(terminal).await;
    outcome
}

/// A sample that was submitted, with its run.
pub(super) struct SampleRun<'a> {
    pub(super) sample: &'a Sample,
    id: Uuid,
    run: Option<Run>,
}

impl SampleRun<'_> {
    pub(super) fn ended(&self) -> Option<&Run> {
        self.run.as_ref().filter(|run| run.status.is_terminal())
    }

    pub(super) fn is_as_expected(&self) -> bool {
        self.ended().is_some_and(|run| self.sample.expected.matches(run))
    }
}

/// Submits all samples, waits until all have ended, and prints the results.
async fn show(client: &Client, all: &[Sample], terminal: Terminal, as_json: bool) -> Outcome {
    let begun = Stopwatch::start();
    let tried = evaluate(client, all, terminal).await?;
    let wrong = tried.iter().filter(|tried| !tried.is_as_expected()).count();
    if as_json {
        terminal::json(&tried.iter().map(document).collect::<Vec<_>>());
    } else {
        print_table(terminal, &tried);
        let took = begun.elapsed().as_secs();
        let (style, text) = match wrong {
            0 => (Style::Good, format!("all {} samples ended as declared, in {took} s", tried.len())),
            _ => (Style::Bad, format!("{wrong} of {} samples did not end as declared, in {took} s", tried.len())),
        };
        terminal.line(terminal.paint(style, text));
    }
    Ok(if wrong == 0 { Exit::Success } else { Exit::TestsFailed })
}

/// Submits all samples, and waits until all have ended.
///
/// # Errors
/// [`Fault`] if the service does not answer, or does not accept a sample.
pub(super) async fn evaluate<'a>(
    client: &Client,
    all: &'a [Sample],
    terminal: Terminal,
) -> Result<Vec<SampleRun<'a>>, Fault> {
    terminal.line(format!("submitting {} samples to {}", all.len(), client.url()));
    let submitted = futures_util::stream::iter(all.iter().map(|sample| submit(client, sample)));
    let mut tried: Vec<SampleRun<'_>> = submitted.buffered(UPLOADS).try_collect().await?;
    let names = tried.iter().map(|tried| format!("{}/{}", tried.sample.template, tried.sample.name)).collect();
    let mut board = Board::new(terminal, names);
    while tried.iter().any(|tried| tried.ended().is_none()) {
        poll_runs(client, &mut tried).await?;
        for (line, tried) in tried.iter().enumerate() {
            if let Some(run) = &tried.run {
                let (style, state) = state_of(tried, run);
                board.set(line, style, state);
            }
        }
        board.draw();
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(tried)
}

async fn submit<'a>(client: &Client, sample: &'a Sample) -> Result<SampleRun<'a>, Fault> {
    let packed = pack(&sample.folder, Selection::All)?;
    // Each sample has its own user, so that the limits per user do not delay the others.
    let user = format!("demo-{}-{}", sample.template, sample.name);
    let fields = SubmissionFields { template: &sample.template, user: &user, metadata: None, idempotency_key: None };
    let accepted: Accepted = read("submission", &client.submit(Project::Archive(packed), &fields).await?)?;
    Ok(SampleRun { sample, id: accepted.run.id, run: None })
}

/// Requests the state of all runs that have not ended.
async fn poll_runs(client: &Client, tried: &mut [SampleRun<'_>]) -> Result<(), Fault> {
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

fn state_of(tried: &SampleRun<'_>, run: &Run) -> (Style, String) {
    if !run.status.is_terminal() {
        let again = if run.attempt > 1 { format!(" (attempt {})", run.attempt) } else { String::new() };
        return (style_of(run.status), format!("{}{again}", run.state_text()));
    }
    let took = run.took().map_or_else(String::new, |took| format!("  {took}"));
    let (style, sign) = if tried.is_as_expected() { (Style::Good, "ok") } else { (Style::Bad, "WRONG") };
    (style, format!("{sign}  {}{took}", end_of(run)))
}

fn print_table(terminal: Terminal, tried: &[SampleRun<'_>]) {
    let rows = tried.iter().map(|tried| {
        let (style, sign) = if tried.is_as_expected() { (Style::Good, "ok") } else { (Style::Bad, "WRONG") };
        vec![
            (Style::Plain, tried.sample.template.clone()),
            (Style::Plain, tried.sample.name.clone()),
            (Style::Plain, tried.sample.expected.to_string()),
            (if style == Style::Good { Style::Plain } else { style }, tried.ended().map(end_of).unwrap_or_default()),
            (Style::Dim, tried.ended().and_then(Run::took).unwrap_or_default()),
            (style, sign.to_owned()),
        ]
    });
    terminal.line("");
    terminal.table(&["template", "sample", "expected", "actual", "took", ""], rows.collect());
    for tried in tried.iter().filter(|tried| !tried.is_as_expected()) {
        terminal.line(format!("{}/{}: assize status {}", tried.sample.template, tried.sample.name, tried.id));
        if let Some(mistake) = tried.ended().and_then(|run| tried.sample.expected.mistake(run)) {
            terminal.line(terminal.paint(Style::Bad, format!("  {mistake}")));
        }
    }
}

fn document(tried: &SampleRun<'_>) -> Value {
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
