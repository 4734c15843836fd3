//! Describes the host, the programs and the settings of a recording.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::installation::Installation;
use super::mix::Mix;
use super::recording::{Head, Host};
use super::site;

/// Describes a recording that begins now. Its end is filled in later.
pub async fn describe(
    command: &str,
    installation: &Installation,
    mix: &Mix,
    seed: u64,
    begun_at: DateTime<Utc>,
    sample_s: f64,
) -> Result<Head> {
    let program = |name: &str| site::target().join(site::profile()).join(name);
    let programs = ["assize", "assize-warden"].iter().map(|name| Ok(((*name).to_owned(), sha256_of(&program(name))?)));
    let public = |name: &str| !name.ends_with("_url") && !name.ends_with("_key");
    let settings = installation.settings.iter().filter(|(name, _)| public(name));
    Ok(Head {
        command: command.to_owned(),
        begun_at,
        ended_at: begun_at,
        seed,
        host: host(installation).await,
        commit: commit().await,
        programs: programs.collect::<Result<BTreeMap<_, _>>>()?,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        templates: mix.templates(),
        slots: installation.shape.total_slots,
        sample_s,
        notes: vec![
            "The generator, the sampler, Postgres and Redis ran on the same host as the cells.".to_owned(),
            format!("The programs are of the profile {}.", site::profile()),
        ],
    })
}

async fn host(installation: &Installation) -> Host {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
        line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let kib = value(&read("/proc/meminfo"), "MemTotal").split(' ').next().and_then(|kib| kib.parse::<u64>().ok());
    let info = installation.engine.docker.info().await.unwrap_or_default();
    let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let version = sqlx::query_scalar("SHOW server_version").fetch_one(&installation.pool).await;
    Host {
        cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
        cpu_model: value(&read("/proc/cpuinfo"), "model name"),
        memory_mib: kib.unwrap_or(0) / 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        engine: format!("Docker {}, storage {}", text(info.server_version), text(info.driver)),
        cgroups: format!(
            "version {}, driver {}",
            text(info.cgroup_version.map(|version| version.to_string())),
            text(info.cgroup_driver.map(|driver| driver.to_string()))
        ),
        postgres: version.unwrap_or_else(|_| "unknown".to_owned()),
        file_system: output("stat", &["-f", "-c", "%T", &installation.folder.display().to_string()]).await,
    }
}

/// Returns the commit of the working folder, and whether files differ from it.
async fn commit() -> String {
    let commit = output("git", &["rev-parse", "HEAD"]).await;
    let changed = output("git", &["status", "--porcelain", "--untracked-files=no"]).await;
    if changed.is_empty() || changed == "unknown" { commit } else { format!("{commit} with changes") }
}

async fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().await;
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map_or_else(|| "unknown".to_owned(), |text| String::from_utf8_lossy(&text).trim().to_owned())
}

/// Returns the SHA-256 of a file in hexadecimal.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let count = std::io::Read::read(&mut file, &mut piece)?;
        if count == 0 {
            return Ok(hex::encode(digest.finalize()));
        }
        digest.update(&piece[..count]);
    }
}
