//! What the way out costs: an install of a Vite project from a real registry, through the tunnel of a cell and through a
//! plain CONNECT proxy of the host, in turns.
//!
//! It needs a registry: the settings `npm_registry`, `egress_private_hosts` and `extra_ca_file` come from the environment,
//! as for the worker. Without the first it is left out.

use std::io::{Cursor, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assize_host::clock::Stopwatch;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::client::form;
use crate::figure::{Bar, Figure};
use crate::installation::MeasuredInstallation;

/// Installs of each kind.
const ROUNDS: usize = 5;

/// The image of both, and the limits that both have.
const IMAGE: &str = "assize/node-web:1";
const LIMITS: [&str; 6] = ["--cpus", "1", "--memory", "1600m", "--pids-limit", "256"];

const TEMPLATE: &str = r#"
description = "Installs"
class = "B"
image = "assize/node-web:1"
[limits]
cpus = 1.0
memory_mib = 1600
pids = 256
workspace_mib = 512
workspace_inodes = 60000
tmp_mib = 128
[[stages]]
name = "install"
command = ["npm", "install", "--no-package-lock"]
timeout_s = 240
egress = [{ registry = "npm" }]
[[stages]]
name = "tests"
command = ["test", "-d", "node_modules/vite"]
timeout_s = 20
[results]
format = "exit_code"
[global]
timeout_s = 300
"#;

/// What the React template of Vite asks for.
const PACKAGE: &str = r#"{
  "name": "app", "private": true, "version": "0.0.0", "type": "module",
  "dependencies": { "react": "^19.3.1", "react-dom": "^19.3.1" },
  "devDependencies": {
    "@types/node": "^24.19.2", "@types/react": "^19.3.0", "@types/react-dom": "^19.3.0",
    "@vitejs/plugin-react": "^6.1.2", "oxlint": "^1.88.0", "typescript": "~7.0.2", "vite": "^8.3.4"
  }
}"#;

pub async fn measure() -> Result<Vec<Figure>> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (registry, ca) = (variable("ASSIZE_NPM_REGISTRY"), variable("ASSIZE_EXTRA_CA_FILE"));
    if registry.is_empty() {
        eprintln!("install is left out: ASSIZE_NPM_REGISTRY names no registry");
        return Ok(Vec::new());
    }
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("install"))?;
    std::fs::write(folder.path().join("install/template.toml"), TEMPLATE)?;
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let address = proxy.local_addr()?;
    let _serving = AbortOnDropHandle::new(tokio::spawn(serve(proxy)));

    let installation = MeasuredInstallation::start(folder.path()).await?;
    let mut measured = Ok((Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        let Ok((tunnel, plain)) = &mut measured else { break };
        match round(&installation, address, &registry, &ca).await {
            Ok((through_tunnel, through_proxy)) => {
                tunnel.push(through_tunnel);
                plain.push(through_proxy);
            }
            Err(error) => measured = Err(error),
        }
    }
    installation.stop().await?;
    let (tunnel, plain) = measured?;
    let (tunnel, plain) = (median(tunnel), median(plain));
    Ok(vec![Figure::new("install_ratio", tunnel / plain, "x", Bar::AtMost(1.3)).with(format!(
        "a Vite project from its registry, median of {ROUNDS} in turns: tunnel {tunnel:.1} s, plain CONNECT proxy {plain:.1} s"
    ))])
}

/// One install of each kind, in seconds.
async fn round(installation: &MeasuredInstallation, proxy: SocketAddr, registry: &str, ca: &str) -> Result<(f64, f64)> {
    let accepted = installation.client.submit(form("install", &project()?)).await?;
    let rows = installation.ended(&[accepted.run]).await?;
    let row = rows.first().context("no run")?;
    let (started, finished) = row.started_at.zip(row.finished_at).context("the run has no times")?;
    let through_tunnel = (finished - started).to_std()?.as_secs_f64();

    let begun = Stopwatch::start();
    let script = "cd /workspace && printf '%s' \"$PACKAGE\" > package.json && npm install --no-package-lock";
    let mut command = Command::new("docker");
    command.args([
        "run",
        "--rm",
        "--network",
        "host",
        "--tmpfs",
        "/workspace:uid=10001,exec",
        "--tmpfs",
        "/tmp:uid=10001",
    ]);
    command.args(LIMITS).args(["--env", "HOME=/workspace", "--env", &format!("PACKAGE={PACKAGE}")]);
    command.args([
        "--env",
        &format!("HTTPS_PROXY=http://{proxy}"),
        "--env",
        &format!("npm_config_registry={registry}"),
    ]);
    if !ca.is_empty() {
        command.args(["--volume", &format!("{ca}:/ca.pem:ro"), "--env", "NODE_EXTRA_CA_CERTS=/ca.pem"]);
    }
    let ended = command.args([IMAGE, "sh", "-c", script]).output().await.context("docker")?;
    ensure!(ended.status.success(), "the install in a plain container: {}", String::from_utf8_lossy(&ended.stderr));
    Ok((through_tunnel, begun.elapsed().as_secs_f64()))
}

fn project() -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("package.json", SimpleFileOptions::default())?;
    zip.write_all(PACKAGE.as_bytes())?;
    Ok(zip.finish()?.into_inner())
}

/// A proxy that does nothing but connect and copy; it resolves its one host once.
async fn serve(listener: TcpListener) {
    let resolved = std::sync::Arc::new(tokio::sync::OnceCell::new());
    while let Ok((socket, _)) = listener.accept().await {
        let resolved = std::sync::Arc::clone(&resolved);
        tokio::spawn(async move { carry(socket, &resolved).await });
    }
}

async fn carry(socket: TcpStream, resolved: &tokio::sync::OnceCell<SocketAddr>) -> Result<()> {
    let mut client = BufReader::new(socket);
    let mut line = String::new();
    client.read_line(&mut line).await?;
    let host = line.split(' ').nth(1).context("no host")?.to_owned();
    while client.read_line(&mut line).await? > 2 {}
    let lookup = async || tokio::net::lookup_host(host).await?.next().context("no address");
    let mut server = TcpStream::connect(resolved.get_or_try_init(lookup).await?).await?;
    server.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::time::timeout(Duration::from_secs(120), tokio::io::copy_bidirectional(&mut client, &mut server)).await??;
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}
