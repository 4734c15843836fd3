//! `assize verdict`: what a run came to, in the form that someone else reads.

use std::path::PathBuf;

use uuid::Uuid;

use crate::client::ServerOptions;
use crate::outcome::{Exit, Fault, Outcome};
use crate::terminal::Terminal;
use assize_domain::unicode::{escaped_json, escaped_xml};

/// Print or save the verdict of a run.
///
/// As JSON, as Gradescope's results.json, as JUnit XML, or as the signed statement (DSSE) that `assize verify`
/// checks. That exists for failed runs too.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize verdict $RUN --format junit > junit.xml\n  assize verdict $RUN --format dsse --save verdict.dsse.json"
)]
pub struct ReadVerdict {
    run: Uuid,
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Write it here instead of to stdout.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Json,
    Gradescope,
    Junit,
    Dsse,
}

impl Format {
    const fn query(self) -> &'static str {
        match self {
            Self::Json => "",
            Self::Gradescope => "?format=gradescope",
            Self::Junit => "?format=junit",
            Self::Dsse => "?format=dsse",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] for a person.
pub async fn run(command: ReadVerdict) -> Outcome {
    let path = format!("/v1/runs/{}/verdict{}", command.run, command.format.query());
    let document = command.server.client()?.document(&path).await?;
    match &command.save {
        Some(path) => std::fs::write(path, document)
            .map_err(|error| Fault::usage(format!("cannot write {}: {error}", path.display())))?,
        None => {
            let document = String::from_utf8_lossy(&document).replace("\r\n", "\n");
            let document = match command.format {
                Format::Junit => escaped_xml(document.trim_end()),
                Format::Json | Format::Gradescope | Format::Dsse => escaped_json(document.trim_end()),
            };
            Terminal::stdout().line(document);
        }
    }
    Ok(Exit::Success)
}
