//! `assize with-services`: runs a command with a private Postgres and Redis.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::embedded::{Durability, Embedded};
use assize_client::outcome::{Exit, Fault, Outcome};
use assize_client::terminal::Terminal;
use assize_host as host;

/// The longest that the command may take to end after one of its services has ended.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
EXAMPLES:
  assize with-services -- cargo test
  assize with-services --data /tmp/try -- sh -c 'psql $DATABASE_URL -c \"select version()\"'";

/// Run a command with a private Postgres and Redis.
///
/// The command finds their addresses in DATABASE_URL and REDIS_URL. When it ends, both services are stopped,
/// and assize exits with its exit code. The database is empty; `assize migrate` creates the schema.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct WithServices {
    /// Store the data in this folder. Without it, the data are removed at the end, and are not synced to disk.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Run this command with its arguments. It follows `--`.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] with a message for the user.
pub async fn run(command: WithServices) -> Outcome {
    let fault = |error: std::io::Error| Fault::infrastructure(format!("cannot create a temporary folder: {error}"));
    let (data, scratch) = match command.data {
        Some(data) => (data, None),
        None => {
            let scratch =
                tempfile::Builder::new().prefix("assize-").permissions(searchable()).tempdir().map_err(fault)?;
            (scratch.path().to_owned(), Some(scratch))
        }
    };
    let durability = if scratch.is_some() { Durability::ThrowAway } else { Durability::Safe };
    let terminate = signal(SignalKind::terminate()).map_err(Fault::infrastructure)?;
    // Ctrl-c reaches the command as well. This program ends when the command has ended.
    let interrupt = signal(SignalKind::interrupt()).map_err(Fault::infrastructure)?;
    let mut services = Embedded::start(&data, durability).await?;
    let outcome = with(&mut services, &command.command, terminate, interrupt).await;
    for complaint in services.stop().await {
        Terminal::stderr().line(complaint);
    }
    drop(scratch);
    outcome
}

/// Returns the permissions of a temporary folder that the servers' user must be able to enter. The folders inside
/// have stricter permissions.
pub(super) fn searchable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o711)
}

async fn with(services: &mut Embedded, command: &[OsString], mut terminate: Signal, mut interrupt: Signal) -> Outcome {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Fault::usage("no command is given; pass it after --"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", &services.database_url)
        .env("REDIS_URL", &services.redis_url)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Fault::usage(format!("cannot run {}: {error}", program.to_string_lossy())))?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(Exit::Of(code_of(status.map_err(Fault::infrastructure)?))),
            error = services.ended() => {
                end(&mut child).await;
                return Err(error.into());
            }
            _ = terminate.recv() => {
                if let Some(pid) = child.id() {
                    host::signal(pid, host::Signal::Terminate);
                }
            }
            _ = interrupt.recv() => {}
        }
    }
}

async fn end(child: &mut Child) {
    if let Some(pid) = child.id() {
        host::signal(pid, host::Signal::Terminate);
    }
    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        Terminal::stderr().line(format!("the command could not be killed: {error}"));
    }
}

/// Returns the exit code, or 128 plus the number of the signal that ended the command, as in a shell.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
