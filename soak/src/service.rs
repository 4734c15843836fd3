//! A process of the service under test that is restarted when it ends, as systemd would do.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::process::Command;
use tokio::sync::watch;

use super::signals;

/// The time between an unexpected end and the next start, like `RestartSec` of systemd.
const RESTART_DELAY: Duration = Duration::from_millis(300);

/// The longest that a process may take to end after SIGKILL, or to be started again.
const PROCESS_TIMEOUT: Duration = Duration::from_secs(30);

/// The command line, environment and log of a process.
#[derive(Clone)]
pub struct Spec {
    pub name: String,
    pub program: PathBuf,
    pub arguments: &'static [&'static str],
    pub environment: Vec<(String, String)>,
    pub log: PathBuf,
}

/// A process that is restarted whenever it ends, until it is stopped.
pub struct Service {
    pub spec: Spec,
    pid: watch::Receiver<Option<u32>>,
    shared: Arc<Shared>,
}

struct Shared {
    stopped: AtomicBool,
    /// Whether this program requested the next end.
    asked: AtomicBool,
    restart_ms: AtomicU64,
    /// The length of its log when it last started, in bytes.
    log_from: AtomicU64,
    /// The unexpected ends, each as a sentence.
    ends: Mutex<Vec<String>>,
}

impl Service {
    pub fn start(spec: Spec) -> Self {
        let (sender, pid) = watch::channel(None);
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            restart_ms: AtomicU64::new(0),
            log_from: AtomicU64::new(0),
            ends: Mutex::default(),
        });
        tokio::spawn(supervise(spec.clone(), Arc::clone(&shared), sender));
        Self { spec, pid, shared }
    }

    pub fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// Sends SIGKILL. The process is restarted after `pause`.
    pub async fn kill(&self, pause: Duration) -> Result<()> {
        self.shared.restart_ms.store(u64::try_from(pause.as_millis()).unwrap_or(0), Ordering::SeqCst);
        self.end(Signal::KILL, PROCESS_TIMEOUT).await
    }

    /// Sends SIGKILL. The process is not restarted.
    pub async fn kill_for_good(&self) -> Result<()> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.end(Signal::KILL, PROCESS_TIMEOUT).await
    }

    /// Sends SIGTERM. The process is not restarted.
    ///
    /// # Errors
    /// If it does not end within `timeout`; it is killed then.
    pub async fn stop(&self, timeout: Duration) -> Result<()> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let ended = self.end(Signal::TERM, timeout).await;
        if ended.is_err() {
            self.end(Signal::KILL, PROCESS_TIMEOUT).await?;
        }
        ended
    }

    /// Sends SIGTERM, and SIGKILL after `later` even if it has not drained. The process is not restarted.
    pub async fn stop_and_kill(&self, later: Duration) -> Result<()> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.end(Signal::TERM, later).await.ok();
        self.end(Signal::KILL, PROCESS_TIMEOUT).await
    }

    async fn end(&self, signal: Signal, timeout: Duration) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        self.shared.asked.store(true, Ordering::SeqCst);
        signals::send(pid, signal);
        let mut seen = self.pid.clone();
        let gone = tokio::time::timeout(timeout, seen.wait_for(|now| *now != Some(pid))).await;
        match gone {
            Ok(_) => Ok(()),
            Err(_) => {
                bail!("{} (process {pid}) did not end within {} s on {signal:?}", self.name(), timeout.as_secs())
            }
        }
    }

    /// Waits until the process runs.
    pub async fn up(&self) -> Result<()> {
        let mut seen = self.pid.clone();
        let up = tokio::time::timeout(PROCESS_TIMEOUT, seen.wait_for(Option::is_some)).await;
        up.with_context(|| format!("{} is not started", self.name()))?
            .map(drop)
            .context("its supervising task has ended")
    }

    /// Waits until the current process has written `text` to its log.
    pub async fn wait_for_log(&self, text: &str, timeout: Duration) -> Result<()> {
        let look = async {
            while !self.log_since_start().contains(text) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let found = tokio::time::timeout(timeout, look).await;
        found.with_context(|| format!("{} did not log {text:?}; its log is {}", self.name(), self.spec.log.display()))
    }

    fn log_since_start(&self) -> String {
        let bytes = std::fs::read(&self.spec.log).unwrap_or_default();
        let from = usize::try_from(self.shared.log_from.load(Ordering::SeqCst)).unwrap_or(0);
        String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Returns the unexpected ends, each as a sentence.
    pub fn ends(&self) -> Vec<String> {
        self.shared.ends.lock().map(|ends| ends.clone()).unwrap_or_default()
    }
}

async fn supervise(spec: Spec, shared: Arc<Shared>, pid: watch::Sender<Option<u32>>) {
    while !shared.stopped.load(Ordering::SeqCst) {
        let ended = run_once(&spec, &shared, &pid).await;
        pid.send_replace(None);
        let pause = if shared.asked.swap(false, Ordering::SeqCst) {
            Duration::from_millis(shared.restart_ms.load(Ordering::SeqCst))
        } else {
            if let Ok(mut ends) = shared.ends.lock() {
                ends.push(format!("{} {}", spec.name, ended.unwrap_or_else(|error| format!("{error:#}"))));
            }
            RESTART_DELAY
        };
        tokio::time::sleep(pause).await;
    }
}

async fn run_once(spec: &Spec, shared: &Shared, pid: &watch::Sender<Option<u32>>) -> Result<String> {
    let log = File::options().create(true).append(true).open(&spec.log)?;
    shared.log_from.store(log.metadata()?.len(), Ordering::SeqCst);
    let mut command = Command::new(&spec.program);
    command.args(spec.arguments).arg("--lifeline").envs(spec.environment.iter().cloned());
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", spec.program.display()))?;
    let _lifeline = child.stdin.take();
    pid.send_replace(child.id());
    let status = child.wait().await?;
    Ok(format!("ended with {status}: {}", last_line(&spec.log)))
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(400).collect()
}
