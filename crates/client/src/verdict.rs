//! `assize verdict`: prints or saves the verdict of a run in the format of another tool.

use std::path::PathBuf;

use uuid::Uuid;

use crate::client::ServerOptions;
use crate::outcome::{Exit, Fault, Outcome};
use crate::terminal::Terminal;
use assize_domain::unicode::{escaped_json, escaped_xml};

/// Print or save the verdict of a run.
///
/// The formats are JSON, Gradescope's results.json, JUnit XML, and the signed statement (DSSE) that `assize verify`
/// checks. The signed statement exists for failed runs too.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "EXAMPLES:\n  assize verdict $RUN --format junit > junit.xml\n  assize verdict $RUN --format dsse --save verdict.dsse.json"
)]
pub struct ReadVerdict {
    /// The id of the run, as `assize submit` and `assize runs` print it.
    run: Uuid,
    /// Print the verdict in this format.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Write the verdict to this file instead of stdout.
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
/// [`Fault`] with a message for the user.
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
