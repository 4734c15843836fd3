//! A separate Docker engine, which can be killed without affecting the engine of the host.
//!
//! Its files and sockets are separate from those of the host's engine. It creates no networks and changes no firewall
//! rules; only its images are copied from the host's engine. As on a host with systemd, containerd is a separate process:
//! killing dockerd leaves containerd and its containers alive.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bollard::{API_DEFAULT_VERSION, Docker};
use rustix::process::Signal;
use tokio::process::{Child, Command};

use super::signals;

/// The longest that the engine may take to answer or to stop.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The images that every installation here needs.
pub const BASE_IMAGES: [&str; 2] = ["assize/base:1", "assize/berth:1"];

pub struct Engine {
    pub socket: PathBuf,
    pub docker: Docker,
    folder: PathBuf,
    run: PathBuf,
    child: Option<Child>,
    containerd: Child,
}

impl Engine {
    /// Starts an engine with files in `folder` and sockets in `run`, and copies these images into it.
    pub async fn start(folder: &Path, run: &Path, images: &[String]) -> Result<Self> {
        let socket = run.join("docker.sock");
        let docker = Docker::connect_with_unix(&socket.display().to_string(), 120, API_DEFAULT_VERSION)
            .or_else(|_| Docker::connect_with_socket_defaults())?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("daemon.json"), "{}")?;
        let containerd = containerd(folder, run)?;
        let mut engine =
            Self { socket, docker, folder: folder.to_owned(), run: run.to_owned(), child: None, containerd };
        engine.again().await?;
        engine.docker = Docker::connect_with_unix(&engine.socket.display().to_string(), 120, API_DEFAULT_VERSION)?
            .negotiate_version()
            .await?;
        let load = format!("docker save {} | docker -H unix://{} load -q", images.join(" "), engine.socket.display());
        let loaded = Command::new("bash").args(["-o", "pipefail", "-c", &load]).stdout(Stdio::null()).status().await?;
        ensure!(loaded.success(), "the images cannot be copied from the host's engine: run `make images`");
        Ok(engine)
    }

    /// Starts dockerd and waits until it answers.
    pub async fn again(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.folder.join("dockerd.log"))?;
        // A separate network namespace is necessary: without a bridge of its own, dockerd removes the one of the host.
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "dockerd"]);
        let in_folder = |name: &str| self.folder.join(name);
        command.arg("--data-root").arg(in_folder("data")).arg("--exec-root").arg(self.run.join("exec"));
        command.arg("--containerd").arg(self.run.join("containerd.sock"));
        command.arg("--pidfile").arg(self.pid_file()).arg("--config-file").arg(in_folder("daemon.json"));
        command.arg("--host").arg(format!("unix://{}", self.socket.display()));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        command.args(["--ip-forward=false", "--log-level=warn", "--shutdown-timeout=5"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start dockerd; run scripts/setup")?;
        let waiting = async {
            while !self.answers().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            waited = tokio::time::timeout(CALL_TIMEOUT, waiting) => {
                waited.with_context(|| format!("dockerd does not answer; see {}", in_folder("dockerd.log").display()))?;
            }
            status = child.wait() => bail!("dockerd ended: {}; see {}", status?, in_folder("dockerd.log").display()),
        }
        self.child = Some(child);
        Ok(())
    }

    async fn answers(&self) -> bool {
        let ping = tokio::time::timeout(Duration::from_secs(2), self.docker.ping()).await;
        self.socket.exists() && matches!(ping, Ok(Ok(_)))
    }

    fn pid_file(&self) -> PathBuf {
        self.run.join("dockerd.pid")
    }

    /// Stops dockerd with SIGTERM or SIGKILL.
    pub async fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id() {
            signals::send(pid, signal);
        }
        let ended = tokio::time::timeout(CALL_TIMEOUT, child.wait()).await;
        if signal == Signal::KILL {
            std::fs::remove_file(self.pid_file()).ok();
        }
        ended.context("dockerd does not end")?.map(drop).context("waiting for dockerd")
    }

    /// Stops the engine with all containers that may still run, and unmounts its files.
    pub async fn close(&mut self) -> Result<()> {
        self.end(Signal::TERM).await?;
        if let Some(pid) = self.containerd.id() {
            signals::send(pid, Signal::TERM);
        }
        tokio::time::timeout(CALL_TIMEOUT, self.containerd.wait()).await.context("containerd does not end")??;
        for shim in signals::with_words("containerd-shim", &self.run.display().to_string()) {
            signals::family(shim).into_iter().for_each(|pid| signals::send(pid, Signal::KILL));
        }
        release(&self.folder).await;
        release(&self.run).await;
        Ok(())
    }
}

fn containerd(folder: &Path, run: &Path) -> Result<Child> {
    let config = folder.join("containerd.toml");
    std::fs::write(&config, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")?;
    let log = File::options().create(true).append(true).open(folder.join("containerd.log"))?;
    let mut command = Command::new("containerd");
    command.arg("--config").arg(config).arg("--root").arg(folder.join("containerd"));
    command.arg("--state").arg(run.join("state")).arg("--address").arg(run.join("containerd.sock"));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
    command.spawn().context("cannot start containerd; run scripts/setup")
}

/// Unmounts everything below `folder`, the innermost first.
pub async fn release(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let below = |line: &str| {
        let place = line.split(' ').nth(1)?.to_owned();
        Path::new(&place).starts_with(folder).then_some(place)
    };
    let places: Vec<String> = mounts.lines().filter_map(below).collect();
    for place in places.iter().rev() {
        Command::new("umount").arg("-l").arg(place).status().await.ok();
    }
}
