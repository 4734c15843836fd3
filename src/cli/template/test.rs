//! `assize template test`: runs the samples of a template in a service of their own.

mod findings;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assize_client::client::{Client, Project, SubmissionFields};
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::pack::Packed;
use assize_client::report::Run;
use assize_client::terminal::{self, Style, Terminal};
use assize_config::Config;
use serde_json::{Value, json};

use super::{check, exit_for, folder_of_template, has_errors, print_complaints, summary};
use crate::cli::demo::expect::{Expected, Sample, end_of, samples};
use crate::cli::demo::{SampleRun, evaluate};
use crate::cli::signals;
use crate::cli::up::{self, LocalService};
use crate::embedded::Durability;
use crate::installation::{Launcher, Listen, Settings};
use crate::template::{Complaint, Template};

const EXAMPLES: &str = "\
EXAMPLES:
  assize template test templates/sums
  assize template test templates/sums --json | jq -r '.complaints[].message'

EXIT CODES:
  0  every sample ended as expected; there may be warnings
  1  the template has an error, or a sample ended otherwise
  2  the command line is wrong, or there is no such template
  5  the service could not be started";

/// Run every sample of a template and compare its end with sample/expect.toml.
///
/// A service with only this template is started for it, as `assize up` does, and is removed afterwards. Besides the
/// samples, a project with one empty file is submitted, which must not get full marks, and an empty archive, which must be
/// refused. Time limits must leave the passing samples a headroom of 3.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Test {
    /// The folder of the template.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print one JSON document. Progress goes to stderr.
    #[arg(long)]
    json: bool,
}

/// The name of the project with one empty file in the table.
const ONE_EMPTY_FILE: &str = "(one empty file)";

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub(super) async fn run(command: Test, config: Config, config_file: Option<&Path>) -> Outcome {
    let terminal = Terminal::progress(command.json);
    let folder = folder_of_template(&command.folder)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (template, complaints) = check::examine(&folder, &config).await;
    let Some(template) = template.filter(|_| !has_errors(&complaints)) else {
        print(&name, &[], &complaints, terminal, command.json);
        if !command.json {
            terminal.line("nothing was run: correct the errors first");
        }
        return Ok(Exit::Refused);
    };
    let scratch = scratch()?;
    let (templates_dir, empty) = (scratch.path().join("templates"), scratch.path().join("empty"));
    link(&folder, &templates_dir, &name)
        .and_then(|()| write_empty(&empty, &template))
        .map_err(|error| Fault::infrastructure(format!("cannot write to {}: {error}", scratch.path().display())))?;
    let mut all = samples(&templates_dir)?;
    let expected = Expected::not_passing();
    all.push(Sample { template: name.clone(), name: ONE_EMPTY_FILE.to_owned(), folder: empty, expected });

    let listen = Listen::free()
        .map_err(|error| Fault::infrastructure(format!("there are no three free ports on 127.0.0.1: {error}")))?;
    let launcher = Launcher {
        durability: Durability::ThrowAway,
        settings: Settings::default().with("templates_dir", templates_dir.display()),
        ..up::launcher(scratch.path().to_owned(), listen, &config, config_file)?
    };
    let stop = signals::shutdown_token(false)?;
    let mut service = LocalService::start(launcher, terminal, &stop).await?;
    let client = Client::new(&service.installation.url(), &service.key)?;
    let tried = tokio::select! {
        tried = try_all(&client, &all, &template, terminal) => tried.map(Some),
        error = service.installation.ended() => Err(error.into()),
        () = stop.cancelled() => Ok(None),
    };
    service.stop(terminal).await;
    let Some((runs, found)) = tried? else { return Ok(Exit::Interrupted) };
    let mut complaints = [complaints, found].concat();
    complaints.sort_by_key(|complaint| complaint.severity);
    print(&name, &runs, &complaints, terminal, command.json);
    Ok(exit_for(&complaints))
}

/// Runs everything, and returns what is wrong with it.
async fn try_all<'a>(
    client: &Client,
    all: &'a [Sample],
    template: &Template,
    terminal: Terminal,
) -> Result<(Vec<SampleRun<'a>>, Vec<Complaint>), Fault> {
    let runs = evaluate(client, all, terminal).await?;
    let mut complaints = Vec::new();
    for tried in &runs {
        complaints.extend(findings::of_run(client, tried, template).await);
    }
    complaints.extend(findings::unseen_rules(client, &runs, template).await);
    complaints.extend(accepted_empty_archive(client, &template.name).await?);
    Ok((runs, complaints))
}

/// Complains if the service accepts an archive without entries.
async fn accepted_empty_archive(client: &Client, template: &str) -> Result<Option<Complaint>, Fault> {
    /// The end of the central directory, which is all that an empty zip has.
    const EMPTY_ZIP: &[u8; 22] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let cannot = |error: std::io::Error| Fault::infrastructure(format!("cannot create a temporary file: {error}"));
    let mut file = tempfile::tempfile().map_err(cannot)?;
    file.write_all(EMPTY_ZIP).and_then(|()| std::io::Seek::rewind(&mut file)).map_err(cannot)?;
    let packed = Packed { file, bytes: EMPTY_ZIP.len() as u64, contents: None, warnings: Vec::new() };
    let fields = SubmissionFields { template, user: "template-test", metadata: None, idempotency_key: None };
    Ok(client.submit(Project::Archive(packed), &fields).await.is_ok().then(|| {
        let message = "the service accepted an empty archive";
        Complaint::error("template.toml", "archive", message, "report this as a bug of assize")
    }))
}

/// A folder that the server of the database may search.
fn scratch() -> Result<tempfile::TempDir, Fault> {
    tempfile::Builder::new()
        .prefix("assize-template-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .map_err(|error| Fault::infrastructure(format!("cannot create a temporary folder: {error}")))
}

/// A folder of templates that has only this one.
fn link(folder: &Path, templates_dir: &Path, name: &str) -> std::io::Result<()> {
    std::fs::create_dir(templates_dir)?;
    std::os::unix::fs::symlink(folder, templates_dir.join(name))
}

/// The project with one empty file, whose name the template accepts.
fn write_empty(folder: &Path, template: &Template) -> std::io::Result<()> {
    let name = match template.archive.allow.first() {
        Some(end) if end.starts_with('.') => format!("empty{end}"),
        Some(whole) => whole.clone(),
        None => "empty.txt".to_owned(),
    };
    std::fs::create_dir(folder)?;
    std::fs::write(folder.join(name), "")
}

fn print(name: &str, runs: &[SampleRun<'_>], complaints: &[Complaint], terminal: Terminal, as_json: bool) {
    if as_json {
        let samples: Vec<Value> = runs.iter().map(document).collect();
        let ok = !has_errors(complaints);
        return terminal::json(&json!({ "template": name, "ok": ok, "samples": samples, "complaints": complaints }));
    }
    if !runs.is_empty() {
        let rows = runs.iter().map(|tried| {
            let (style, sign) = if tried.is_as_expected() { (Style::Good, "ok") } else { (Style::Bad, "WRONG") };
            vec![
                (Style::Plain, tried.sample.name.clone()),
                (Style::Plain, tried.sample.expected.to_string()),
                (Style::Plain, tried.ended().map(end_of).unwrap_or_default()),
                (Style::Dim, tried.ended().and_then(Run::took).unwrap_or_default()),
                (style, sign.to_owned()),
            ]
        });
        terminal.line("");
        terminal.table(&["sample", "expected", "actual", "took", ""], rows.collect());
    }
    print_complaints(terminal, complaints);
    let style = if has_errors(complaints) { Style::Bad } else { Style::Good };
    terminal.line(terminal.paint(style, summary(name, complaints)));
}

fn document(tried: &SampleRun<'_>) -> Value {
    let run = tried.ended();
    let fields: BTreeMap<&str, Value> = [
        ("sample", json!(tried.sample.name)),
        ("expected", json!(tried.sample.expected.to_string())),
        ("actual", json!(run.map(end_of))),
        ("ok", json!(tried.is_as_expected())),
    ]
    .into();
    json!(fields)
}
