//! `assize artifacts`: lists the files that a run handed out, and saves them.

use std::path::PathBuf;

use assize_domain::artifact::{Artifact, LeftOutArtifact};
use serde::Deserialize;
use uuid::Uuid;

use crate::client::{ServerOptions, read};
use crate::outcome::{Exit, Outcome};
use crate::save;
use crate::terminal::{self, Style, Terminal, printable, shorten};

/// List the artifacts of a run, or save them.
///
/// Artifacts are files that the template of the run hands out, such as screenshots and logs. The project may have written
/// those with the origin `subject`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize artifacts $RUN\n  assize artifacts $RUN --save out\n  assize verify verdict.dsse.json --keys keys.json --artifacts out"
)]
pub struct Artifacts {
    /// The id of the run, as `assize submit` and `assize runs` print it.
    run: Uuid,
    /// Save every artifact in this folder, as ORIGIN/NAME, and check its SHA-256.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Replace files that exist.
    #[arg(long, requires = "save")]
    force: bool,
    /// Print the list as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerOptions,
}

/// The list as the service sends it.
#[derive(Debug, Deserialize)]
struct List {
    artifacts: Vec<Artifact>,
    left_out: Vec<LeftOutArtifact>,
    left_out_count: u64,
}

/// Runs the command.
///
/// # Errors
/// A [`Fault`](crate::outcome::Fault) with a message for the user.
pub async fn run(command: Artifacts) -> Outcome {
    let client = command.server.client()?;
    let answer = client.get(&format!("/v1/runs/{}/artifacts", command.run)).await?;
    let list: List = read("list of artifacts", &answer)?;
    if let Some(folder) = &command.save {
        save::save_all(&client, command.run, &list.artifacts, folder, command.force).await?;
    }
    if command.json {
        terminal::json(&answer);
    } else {
        print_list(&list);
    }
    if let (Some(folder), false) = (&command.save, command.json) {
        Terminal::stdout().line(format!("saved {} in {}", files(list.artifacts.len()), folder.display()));
    }
    Ok(Exit::Success)
}

fn print_list(list: &List) {
    let terminal = Terminal::stdout();
    if list.artifacts.is_empty() {
        terminal.line("no artifacts");
    } else {
        let rows = list.artifacts.iter().map(|artifact| {
            vec![
                (Style::Plain, artifact.origin.as_str().to_owned()),
                (Style::Plain, shorten(&printable(&artifact.name), 200)),
                (Style::Plain, artifact.bytes.to_string()),
                (Style::Plain, shorten(&printable(&artifact.media_type), 60)),
                (Style::Dim, shorten(&printable(&artifact.sha256), 64)),
            ]
        });
        terminal.table(&["origin", "name", "bytes", "type", "sha256"], rows.collect());
    }
    for one in &list.left_out {
        let (name, reason) = (shorten(&printable(&one.name), 200), shorten(&printable(&one.reason), 300));
        let label = terminal.paint(Style::Warn, "left out");
        terminal.line(format!("{label} {} {name}: {reason}", one.origin.as_str()));
    }
    let others = list.left_out_count.saturating_sub(list.left_out.len() as u64);
    if others > 0 {
        terminal.line(format!("{} {others} more", terminal.paint(Style::Warn, "left out")));
    }
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}
