//! `assize submit`: submits a project, and with `--watch` follows its run until the verdict.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::client::{Client, Project, ServerOptions, SubmissionFields, read};
use crate::contents;
use crate::outcome::{Exit, Fault, Outcome};
use crate::pack::{Packed, Selection, default_ignore, pack};
use crate::report;
use crate::runs::items;
use crate::terminal::{self, Style, Terminal, bytes};

const EXAMPLES: &str = "\
EXAMPLES:
  assize submit ./my-project --template python-api --watch
  assize submit project.zip --template trivial --user alice --metadata '{\"course\": 7}'
  assize submit . --template python-unit --watch --json | jq .verdict.score
  assize submit --repository https://github.com/ada/notes --ref v1.0 --template node-api --watch";

/// Submit a project for evaluation.
///
/// PATH is the project's folder, or a .zip file of it. A folder is packed without symlinks, without the files that
/// its .gitignore names, without .git, and without what the template ignores: unless it says otherwise, these are
/// node_modules, virtual environments, and files of file managers and editors. With --repository, only the address is sent and the service
/// fetches the project itself.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Submit {
    /// The project to submit: a folder or a .zip file.
    #[arg(required_unless_present = "repository", conflicts_with = "repository")]
    path: Option<PathBuf>,
    /// Pack what the template ignores too, but for .git. The service ignores it all the same.
    #[arg(long, conflicts_with = "repository")]
    all: bool,
    /// Submit this public Git repository. The address must begin with https://, and the service must allow its host.
    #[arg(long, value_name = "URL")]
    repository: Option<String>,
    /// Evaluate this branch, tag or full commit id. Without it, the default branch is evaluated.
    #[arg(long = "ref", value_name = "REF", requires = "repository")]
    reference: Option<String>,
    /// Evaluate the project with this template; `assize templates` lists them.
    #[arg(long, short)]
    template: String,
    /// Submit the project for this user of the platform. Without it, the name of the logged-in user is sent.
    #[arg(long, short, env = "USER", hide_env = true, default_value = "local", hide_default_value = true)]
    user: String,
    /// Store this JSON object with the submission.
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// Use this idempotency key. Repeating a submission with the same key does not submit it again.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Write the signed receipt to this file; `assize verify` checks it.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Follow the run until it ends, print its verdict, and exit with the code of the run.
    #[arg(long, short)]
    watch: bool,
    /// Print one JSON document. Progress goes to stderr.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// The response to a submission.
#[derive(Debug, Deserialize)]
pub struct Accepted {
    pub submission: Id,
    pub run: Id,
}

/// A template of the service, of which only the rules for archives are read.
#[derive(Debug, Deserialize)]
struct TemplateRules {
    name: String,
    archive: Option<ArchiveRules>,
}

#[derive(Debug, Deserialize)]
struct ArchiveRules {
    ignore: Vec<String>,
}

/// An object of a response, of which only the id is read.
#[derive(Debug, Deserialize)]
pub struct Id {
    pub id: Uuid,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn run(command: Submit) -> Outcome {
    if let Some(metadata) = &command.metadata {
        check_metadata(metadata)?;
    }
    let terminal = Terminal::progress(command.json);
    let client = command.server.client()?;
    let project = match (&command.path, &command.repository) {
        (Some(path), None) => Project::Archive(pack_for(path, &command, &client).await?),
        (_, Some(url)) => Project::Repository { url, reference: command.reference.as_deref() },
        (None, None) => return Err(Fault::usage("no project is given; pass its folder, or --repository")),
    };
    announce(terminal, &command, &project, &client);
    let fields = SubmissionFields {
        template: &command.template,
        user: &command.user,
        metadata: command.metadata.as_deref(),
        idempotency_key: command.idempotency_key.as_deref(),
    };
    let answer = client.submit(project, &fields).await?;
    let accepted: Accepted = read("submission", &answer)?;
    if let Some(path) = &command.receipt {
        save_receipt(path, &answer)?;
    }
    for (label, text) in contents::lines(&answer["submission"]["archive_contents"]) {
        terminal.line(format!("{label:<10} {text}"));
    }
    if command.watch {
        terminal.line(format!("run {}", accepted.run.id));
        return report::watch(&client, accepted.run.id, command.json).await;
    }
    if command.json {
        terminal::json(&answer);
    } else {
        terminal.line(format!("submission {}", accepted.submission.id));
        terminal.line(format!("run        {}", accepted.run.id));
        terminal.line(terminal.paint(Style::Dim, format!("follow it with: assize watch {}", accepted.run.id)));
    }
    Ok(Exit::Success)
}

/// Packs a folder without what the template ignores. A file needs no packing.
async fn pack_for(path: &Path, command: &Submit, client: &Client) -> Result<Packed, Fault> {
    if command.all || !path.is_dir() {
        return pack(path, Selection::All);
    }
    let answer = client.get("/v1/templates").await?;
    let templates: Vec<TemplateRules> = read("list of templates", items(&answer, "templates"))?;
    let template = templates.into_iter().find(|template| template.name == command.template);
    // The service refuses a template that it does not have, and an older service does not say what it ignores.
    let ignore = template.and_then(|template| template.archive).map_or_else(default_ignore, |rules| rules.ignore);
    pack(path, Selection::NotIgnored(&ignore))
}

/// Writes the receipt of a submission. The submission is valid even if this fails.
fn save_receipt(path: &Path, answer: &Value) -> Result<(), Fault> {
    let receipt = answer.get("receipt").filter(|receipt| receipt.is_object());
    let receipt = receipt
        .ok_or_else(|| Fault::usage("the project was submitted, but this service signs no receipts; do not submit it again, and leave out --receipt next time"))?;
    std::fs::write(path, format!("{receipt}\n")).map_err(|error| {
        Fault::usage(format!(
            "the project was submitted, but the receipt cannot be written to {}: {error}",
            path.display()
        ))
    })
}

fn check_metadata(metadata: &str) -> Result<(), Fault> {
    match serde_json::from_str::<serde_json::Value>(metadata) {
        Ok(value) if value.is_object() => Ok(()),
        Ok(_) => Err(Fault::usage("--metadata must be a JSON object, as in '{\"course\": 7}'")),
        Err(error) => Err(Fault::usage(format!("--metadata is not JSON: {error}"))),
    }
}

fn announce(terminal: Terminal, command: &Submit, project: &Project<'_>, client: &Client) {
    let packed = match project {
        Project::Archive(packed) => packed,
        Project::Repository { url, reference } => {
            let reference = reference.map_or_else(String::new, |reference| format!(" at {reference}"));
            return terminal.line(format!("submitting {url}{reference} to {}", client.url()));
        }
    };
    for warning in &packed.warnings {
        Terminal::stderr().line(Terminal::stderr().paint(Style::Warn, format!("warning: {warning}")));
    }
    let what = match packed.contents {
        Some(contents) => {
            let files = if contents.files == 1 { "1 file".to_owned() } else { format!("{} files", contents.files) };
            format!("{files}, {}, packed {}", bytes(contents.bytes), bytes(packed.bytes))
        }
        None => bytes(packed.bytes),
    };
    let path = command.path.as_deref().unwrap_or_else(|| std::path::Path::new(".")).display();
    terminal.line(format!("submitting {path} ({what}) to {}", client.url()));
}
