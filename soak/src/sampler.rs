//! Reads the state of the installation and of the host every few seconds, and what that costs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assize_host::clock::{Clock, Stopwatch};
use sqlx::{PgPool, Row as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::cells::Cells;
use super::installation::Installation;
use super::procfs::{self, Values};
use super::recording::Sample;
use super::signals;

/// The longest that one reading of Postgres, Redis or the engine may take.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// The largest answer of Redis that is read, in bytes.
const MAX_ANSWER: usize = 16 << 10;

/// The columns of the query below. A run is stale if its worker has not renewed its lease for 45 s: half as long again as
/// the lease.
const COLUMNS: [&str; 9] = [
    "queued",
    "active",
    "active_half_slots",
    "stale",
    "rows",
    "dead_tuples",
    "relation_bytes",
    "wal_bytes",
    "connections",
];

const QUERY: &str = "SELECT
        count(*) FILTER (WHERE status = 'queued')::float8,
        count(*) FILTER (WHERE status <> 'queued')::float8,
        coalesce(sum(half_slots) FILTER (WHERE status <> 'queued'), 0)::float8,
        count(*) FILTER (WHERE heartbeat_at < clock_timestamp() - interval '45 s')::float8,
        (SELECT coalesce(sum(n_live_tup), 0)::float8 FROM pg_stat_user_tables),
        (SELECT coalesce(sum(n_dead_tup), 0)::float8 FROM pg_stat_user_tables),
        (SELECT coalesce(sum(pg_total_relation_size(relid)), 0)::float8 FROM pg_stat_user_tables),
        pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8,
        (SELECT count(*)::float8 FROM pg_stat_activity)
    FROM project_evaluation_runs
    WHERE status IN ('queued', 'preparing', 'running', 'parsing')";

/// The task that reads, and what it has read.
pub struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sampler {
    /// Starts to read every `interval`.
    pub fn start(installation: &Installation, interval: Duration) -> Self {
        let sources = Sources {
            pool: installation.pool.clone(),
            redis: installation.embedded.folder.sockets().join("redis.sock"),
            cells: installation.cells.clone(),
            instance: installation.instance.clone(),
            folder: installation.folder.clone(),
            clock: Clock::system(),
        };
        let samples = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&samples);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let sample = sources.read().await;
                if let Ok(mut kept) = kept.lock() {
                    kept.push(sample);
                }
            }
        });
        Self { samples, task }
    }

    /// Returns all samples so far.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().map(|samples| samples.clone()).unwrap_or_default()
    }
}

/// What is read.
struct Sources {
    pool: PgPool,
    redis: PathBuf,
    cells: Cells,
    instance: String,
    folder: PathBuf,
    clock: Clock,
}

impl Sources {
    async fn read(&self) -> Sample {
        let begun = Stopwatch::start();
        let at = self.clock.wall();
        let mut values = Values::new();
        self.read_processes(&mut values);
        procfs::host(&self.folder, &mut values);
        procfs::cells(&self.instance, &mut values);
        let (database, redis, containers) = tokio::join!(
            tokio::time::timeout(READ_TIMEOUT, self.database()),
            tokio::time::timeout(READ_TIMEOUT, self.redis_bytes()),
            tokio::time::timeout(READ_TIMEOUT, self.cells.containers()),
        );
        if let Ok(Ok(read)) = database {
            values.extend(COLUMNS.iter().map(|name| (*name).to_owned()).zip(read));
        }
        if let Ok(Ok(bytes)) = redis {
            values.insert("redis_bytes".to_owned(), bytes);
        }
        if let Ok(Ok(there)) = containers {
            values.insert("containers".to_owned(), super::stats::length(there.len()));
        }
        values.insert("sampler_ms".to_owned(), begun.elapsed().as_secs_f64() * 1000.0);
        Sample { at, values }
    }

    /// Reads this process and its children, which are told apart by their command lines. `generation` changes whenever
    /// one of them is another process.
    fn read_processes(&self, values: &mut Values) {
        let own = std::process::id();
        let (mut api, mut workers, mut dockerd, mut containerd, mut servers) = (vec![], vec![], vec![], vec![], vec![]);
        for pid in signals::family(own).into_iter().skip(1) {
            let line = signals::command_line(pid);
            let mut words = line.split(' ');
            let program = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
            match (program, words.next().unwrap_or_default()) {
                ("assize", "api") => api.push(pid),
                ("assize", "worker") => workers.push(pid),
                ("dockerd", _) => dockerd.push(pid),
                ("containerd", _) => containerd.push(pid),
                ("postgres", _) => servers.extend(signals::family(pid)),
                _ if program.starts_with("redis-server") => servers.push(pid),
                _ => {}
            }
        }
        let lasting = api.iter().chain(&workers).chain(&dockerd).chain(&containerd);
        values.insert("generation".to_owned(), lasting.map(|pid| f64::from(*pid)).sum());
        for (name, pids) in [("api", &api), ("worker", &workers), ("dockerd", &dockerd), ("containerd", &containerd)] {
            procfs::processes(name, pids, values);
        }
        procfs::processes("generator", &[own], values);
        let mut read = Values::new();
        procfs::processes("servers", &servers, &mut read);
        // Each process of Postgres counts the shared memory again, and connections come and go.
        values.extend(read.remove_entry("servers_cpu_s"));
    }

    async fn database(&self) -> Result<Vec<f64>> {
        let row = sqlx::query(QUERY).fetch_one(&self.pool).await?;
        (0..COLUMNS.len()).map(|at| Ok(row.try_get(at)?)).collect()
    }

    async fn redis_bytes(&self) -> Result<f64> {
        let mut redis = UnixStream::connect(&self.redis).await?;
        redis.write_all(b"INFO memory\r\n").await?;
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&answer);
            // The line is complete when another one follows it.
            let line = text.split("\r\n").find_map(|line| line.strip_prefix("used_memory:"));
            if let Some(bytes) = line.filter(|_| text.contains("used_memory_human")) {
                return bytes.parse().context("used_memory of Redis");
            }
            ensure!(answer.len() < MAX_ANSWER, "Redis answered {MAX_ANSWER} bytes without used_memory");
            ensure!(redis.read_buf(&mut answer).await? > 0, "Redis closed the connection");
        }
    }
}
