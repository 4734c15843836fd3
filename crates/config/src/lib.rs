//! Settings: defaults, then `assize.toml`, then the environment. An unknown key is an error.
//!
//! [`SETTINGS`] is the one list; the README's table is checked against it.

mod check;
mod error;
mod list;
mod source;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use list::{SETTINGS, Setting};

/// Every setting of the service, flat: one TOML key, one environment variable each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub instance: String,
    pub database_url: String,
    pub database_connections: u32,
    pub redis_url: String,
    pub api_listen: String,
    pub api_metrics_listen: String,
    pub trusted_proxies: String,
    pub max_connections: u32,
    pub max_connections_per_address: u32,
    pub max_held_per_key: u32,
    pub rate_per_key: u32,
    pub rate_burst_per_key: u32,
    pub rate_per_address: u32,
    pub rate_burst_per_address: u32,
    pub wrong_keys_per_minute: u32,
    pub worker_metrics_listen: String,
    pub blob_url: String,
    pub spool_dir: PathBuf,
    pub templates_dir: PathBuf,
    pub signing_key_file: PathBuf,
    pub warden_path: PathBuf,
    pub docker_host: String,
    pub runtime: String,
    pub apparmor_profile: String,
    pub allow_unenforced: String,
    pub cells_memory_mib: u64,
    pub cells_pids: u64,
    pub cells_cpu_weight: u64,
    pub cells_processors: String,
    pub npm_registry: String,
    pub egress_private_hosts: String,
    pub egress_max_connections: u64,
    pub egress_max_mib: u64,
    pub egress_upload_mib: u64,
    pub extra_ca_file: PathBuf,
    pub max_active_evaluations: u32,
    pub max_active_browser_evals: u32,
    pub max_active_api_evals: u32,
    pub per_org_max_active: u32,
    pub per_user_max_active: u32,
    pub heavy_patience_s: u64,
    pub max_queued: u32,
    pub per_org_max_queued: u32,
    pub per_user_max_queued: u32,
    pub pause_after_failures: u32,
    pub min_free_disk_mib: u64,
    pub min_available_memory_mib: u64,
    pub max_memory_pressure: u32,
    pub max_io_pressure: u32,
    pub keep_archives_days: u32,
    pub keep_output_days: u32,
    pub keep_runs_days: u32,
    pub worker_slots: u32,
    pub engine_creates: u32,
    pub berth_max_runs: u32,
    pub max_stage_timeout_s: u64,
    pub drain_timeout_s: u64,
    pub max_archive_bytes: u64,
    pub max_archive_entries: u64,
    pub max_unpacked_bytes: u64,
    pub max_archive_ratio: u64,
    pub git_hosts: String,
    pub output_head_bytes: u64,
    pub output_tail_bytes: u64,
    pub output_limit_bytes: u64,
    pub log: String,
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object on each line.
    Json,
    /// Text for people.
    Text,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: "assize".to_owned(),
            database_url: "postgres://assize@localhost/assize".to_owned(),
            database_connections: 8,
            redis_url: "redis://127.0.0.1:6379".to_owned(),
            api_listen: "127.0.0.1:7700".to_owned(),
            api_metrics_listen: "127.0.0.1:7701".to_owned(),
            trusted_proxies: String::new(),
            max_connections: 4096,
            max_connections_per_address: 1024,
            max_held_per_key: 1000,
            rate_per_key: 200,
            rate_burst_per_key: 10_000,
            rate_per_address: 400,
            rate_burst_per_address: 20_000,
            wrong_keys_per_minute: 60,
            worker_metrics_listen: "127.0.0.1:7702".to_owned(),
            blob_url: "file:data/blobs".to_owned(),
            spool_dir: "data/spool".into(),
            templates_dir: "templates".into(),
            signing_key_file: "data/signing.key".into(),
            warden_path: PathBuf::new(),
            docker_host: String::new(),
            runtime: String::new(),
            apparmor_profile: String::new(),
            allow_unenforced: String::new(),
            cells_memory_mib: 0,
            cells_pids: 0,
            cells_cpu_weight: 25,
            cells_processors: String::new(),
            npm_registry: String::new(),
            egress_private_hosts: String::new(),
            egress_max_connections: 2_000,
            egress_max_mib: 512,
            egress_upload_mib: 8,
            extra_ca_file: PathBuf::new(),
            max_active_evaluations: 40,
            max_active_browser_evals: 20,
            max_active_api_evals: 20,
            per_org_max_active: 10,
            per_user_max_active: 2,
            heavy_patience_s: 60,
            max_queued: 100_000,
            per_org_max_queued: 10_000,
            per_user_max_queued: 200,
            pause_after_failures: 5,
            min_free_disk_mib: 2048,
            min_available_memory_mib: 512,
            max_memory_pressure: 20,
            max_io_pressure: 80,
            keep_archives_days: 30,
            keep_output_days: 30,
            keep_runs_days: 365,
            worker_slots: 0,
            engine_creates: 0,
            berth_max_runs: 200,
            max_stage_timeout_s: 0,
            drain_timeout_s: 60,
            max_archive_bytes: 100 * 1024 * 1024,
            max_archive_entries: 10_000,
            max_unpacked_bytes: 512 * 1024 * 1024,
            max_archive_ratio: 200,
            git_hosts: String::new(),
            output_head_bytes: 512 * 1024,
            output_tail_bytes: 512 * 1024,
            output_limit_bytes: 64 * 1024 * 1024,
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
        }
    }
}

impl Config {
    /// Half-slots of this worker.
    #[must_use]
    pub fn worker_half_slots(&self) -> u32 {
        let slots = if self.worker_slots == 0 { cores().max(2) } else { self.worker_slots };
        slots.min(MOST_SLOTS) * 2
    }

    /// Cells that may be in creation at one time.
    #[must_use]
    pub fn creates_at_once(&self) -> usize {
        let creates = if self.engine_creates == 0 { cores() * 2 } else { self.engine_creates };
        creates.max(1) as usize
    }
}

/// More slots than any host has; keeps sums of half-slots far from overflow.
const MOST_SLOTS: u32 = 100_000;

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}
