//! A child process with a name and a log file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};

use super::EmbeddedError;
use assize_host as host;
use assize_host::Signal;

/// The number of bytes at the end of a log that are read when its process failed.
const SHOWN_LOG: u64 = 2048;

/// The number of lines of a log that are shown when its process failed.
const SHOWN_LINES: usize = 8;

/// A child process in a separate process group, so that ctrl-c on the terminal reaches only its parent, which stops its
/// children in order.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// The length of the log when the process started, in bytes.
    log_from: u64,
    /// The stdin of the child. Its end signals to the child that the parent has ended, even if it was killed.
    _lifeline: Option<ChildStdin>,
}

impl Process {
    /// Starts `command` and appends its output to `log`.
    ///
    /// # Errors
    /// [`EmbeddedError`] if the log cannot be opened or the process cannot be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self, EmbeddedError> {
        let folder_fault =
            |error: std::io::Error| EmbeddedError::Folder { path: log.to_owned(), reason: error.to_string() };
        let file = File::options().create(true).append(true).open(log).map_err(folder_fault)?;
        let log_from = file.metadata().map_err(folder_fault)?.len();
        let stderr = file.try_clone().map_err(folder_fault)?;
        // Killing on drop is only for a panic: otherwise the processes are stopped in order.
        command.stdin(Stdio::piped()).stdout(file).stderr(stderr).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| EmbeddedError::Failed {
            what: name.to_owned(),
            reason: format!("could not be started: {error}"),
            log: log.to_owned(),
            last_lines: String::new(),
        })?;
        let _lifeline = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), log_from, _lifeline })
    }

    /// Returns the process id, while the process runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the process ends by itself. The future can be dropped and called again.
    pub async fn ended(&mut self) -> EmbeddedError {
        let reason = match self.child.wait().await {
            Ok(status) => ended_how(status),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        self.failed(reason)
    }

    /// Waits until `answers` succeeds, for at most `timeout`.
    ///
    /// # Errors
    /// [`EmbeddedError::Failed`] if the process ends first, or does not answer in time.
    pub async fn until<F>(&mut self, timeout: Duration, answers: impl Fn() -> F) -> Result<(), EmbeddedError>
    where
        F: Future<Output = Result<(), String>>,
    {
        let mut last = String::new();
        let trying = async {
            while let Err(reason) = answers().await {
                last = reason;
                tokio::time::sleep(super::RETRY_INTERVAL).await;
            }
        };
        let waited = tokio::select! {
            waited = tokio::time::timeout(timeout, trying) => waited,
            status = self.child.wait() => {
                let reason = status.map_or_else(|error| error.to_string(), ended_how);
                return Err(self.failed(reason));
            }
        };
        waited.map_err(|_| self.failed(format!("did not answer within {} s ({last})", timeout.as_secs())))
    }

    /// Sends `signal`, and kills the process after `timeout`. Returns a sentence if the process had to be killed.
    pub async fn stop(&mut self, signal: Signal, timeout: Duration) -> Option<String> {
        let pid = self.child.id()?;
        host::signal(pid, signal);
        if tokio::time::timeout(timeout, self.child.wait()).await.is_ok() {
            return None;
        }
        let killed = self.child.kill().await;
        let outcome = killed.map_or_else(|error| format!("could not be killed: {error}"), |()| "was killed".to_owned());
        Some(format!("{} (process {pid}) did not stop within {} s and {outcome}", self.name, timeout.as_secs()))
    }

    fn failed(&self, reason: String) -> EmbeddedError {
        let last_lines = self.last_lines().unwrap_or_default();
        EmbeddedError::Failed { what: self.name.clone(), reason, log: self.log.clone(), last_lines }
    }

    /// Returns the last lines that the process wrote since its start.
    fn last_lines(&self) -> std::io::Result<String> {
        let mut file = File::open(&self.log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.log_from.max(end.saturating_sub(SHOWN_LOG))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(SHOWN_LINES)..]
            .iter()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n"))
    }
}

fn ended_how(status: ExitStatus) -> String {
    format!("ended: {status}")
}
