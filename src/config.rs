//! Settings: defaults, then `assize.toml`, then the environment. An unknown key is an error.
//!
//! [`SETTINGS`] is the one list; the README's table is checked against it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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
    pub worker_metrics_listen: String,
    pub blob_url: String,
    pub spool_dir: PathBuf,
    pub templates_dir: PathBuf,
    pub warden_path: PathBuf,
    pub docker_host: String,
    pub runtime: String,
    pub apparmor_profile: String,
    pub allow_unenforced: String,
    pub cells_memory_mib: u64,
    pub cells_pids: u64,
    pub cells_cpu_weight: u64,
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
    Json,
    Text,
}

/// A setting as the README shows it: key, default, what it is.
pub struct Setting {
    pub key: &'static str,
    /// The plan's own name, accepted beside `ASSIZE_<KEY>`.
    pub alias: Option<&'static str>,
    pub what: &'static str,
}

const fn setting(key: &'static str, what: &'static str) -> Setting {
    Setting { key, alias: None, what }
}

/// Every setting, in the order of the README's table.
pub const SETTINGS: &[Setting] = &[
    setting("instance", "name of this installation: label of its containers, prefix of its Redis keys"),
    setting("database_url", "Postgres, the only truth"),
    setting("database_connections", "connections per process"),
    setting("redis_url", "Redis, the doorbell and the live output; may be lost at any time"),
    setting("api_listen", "address of the API"),
    setting("api_metrics_listen", "address of the API's /metrics"),
    setting("worker_metrics_listen", "address of the worker's /metrics, /livez and /readyz"),
    setting("blob_url", "where archives and output are kept: `file:<folder>` or `s3://<bucket>/<prefix>`"),
    setting("spool_dir", "folder for uploads in progress"),
    setting("templates_dir", "folder of the templates"),
    setting("warden_path", "the static warden binary; empty: beside the assize binary"),
    setting("docker_host", "the engine's address; empty: DOCKER_HOST, else the default socket"),
    setting("runtime", "OCI runtime of the cells, as the engine names it; empty: the engine's default"),
    setting(
        "apparmor_profile",
        "AppArmor profile of the cells; empty: `assize-cell` where it is loaded, else the engine's own",
    ),
    setting(
        "allow_unenforced",
        "limits that may fail to hold here without stopping the worker, separated by commas; `assize worker --help`",
    ),
    setting(
        "cells_memory_mib",
        "MiB of memory that all cells may have together; 0: the host's less a quarter, of which at most 4096 are kept",
    ),
    setting("cells_pids", "processes that all cells may have together; 0: the host's less a quarter, at most 4096"),
    setting(
        "cells_cpu_weight",
        "weight of all cells together when CPU time is short, 1 to 10000; everything else on the host has 100",
    ),
    Setting {
        key: "max_active_evaluations",
        alias: Some("MAX_ACTIVE_EVALUATIONS"),
        what: "slots over all workers (a class A run takes half a slot, B one, C two)",
    },
    Setting {
        key: "max_active_browser_evals",
        alias: Some("MAX_ACTIVE_BROWSER_EVALS"),
        what: "runs of class B and C that may be active over all workers",
    },
    Setting {
        key: "max_active_api_evals",
        alias: Some("MAX_ACTIVE_API_EVALS"),
        what: "runs of class A that may be active over all workers",
    },
    Setting {
        key: "per_org_max_active",
        alias: Some("PER_ORG_MAX_ACTIVE"),
        what: "runs of one organisation that may be active",
    },
    Setting {
        key: "per_user_max_active",
        alias: Some("PER_USER_MAX_ACTIVE"),
        what: "runs of one user of an organisation that may be active",
    },
    setting("heavy_patience_s", "seconds after which slots are kept free for a waiting run of class B or C"),
    setting("max_queued", "runs that may wait in all; past it submissions get 429"),
    setting("per_org_max_queued", "runs of one organisation that may wait"),
    setting("per_user_max_queued", "runs of one user of an organisation that may wait"),
    setting(
        "pause_after_failures",
        "attempts in a row that fail for the infrastructure's own faults before a worker pauses; 0: never",
    ),
    setting(
        "min_free_disk_mib",
        "free MiB below which submissions get 507 and workers claim nothing; 0: not looked at",
    ),
    setting("min_available_memory_mib", "available MiB of memory below which workers claim nothing; 0: not looked at"),
    setting(
        "max_memory_pressure",
        "percent of time that all processes stalled for memory (PSI, 10 s) above which workers claim nothing; 0: not looked at",
    ),
    setting("max_io_pressure", "the same for disks"),
    setting("keep_archives_days", "days that an archive is kept after its last submission; 0: for ever"),
    setting("keep_output_days", "days that the output of a run is kept after its end; 0: for ever"),
    setting("keep_runs_days", "days that an ended run and its events are kept; 0: for ever"),
    setting("worker_slots", "slots of this worker; 0: one per core, at least 2"),
    setting("engine_creates", "cells being created or started at one time; 0: two per core"),
    setting("berth_max_runs", "runs after which a berth is replaced"),
    setting(
        "max_stage_timeout_s",
        "seconds that any stage may take, whatever its template says; 0: as the template says",
    ),
    setting("drain_timeout_s", "seconds that running evaluations may take to end after SIGTERM"),
    setting("max_archive_bytes", "bytes of an uploaded archive"),
    setting("max_archive_entries", "files and folders in an archive"),
    setting("max_unpacked_bytes", "bytes of all its files, unpacked"),
    setting("max_archive_ratio", "unpacked to packed size of an entry over 1 MiB, and of the whole"),
    setting("output_head_bytes", "first bytes kept of a stage's output, sent live"),
    setting("output_tail_bytes", "last bytes kept of a stage's output"),
    setting("output_limit_bytes", "bytes of output after which a stage is killed"),
    setting("log", "log filter, as in `info` or `assize=debug`"),
    setting("log_format", "`auto` (text on a terminal, JSON elsewhere), `json` or `text`"),
];

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: "assize".to_owned(),
            database_url: "postgres://assize@localhost/assize".to_owned(),
            database_connections: 8,
            redis_url: "redis://127.0.0.1:6379".to_owned(),
            api_listen: "127.0.0.1:7700".to_owned(),
            api_metrics_listen: "127.0.0.1:7701".to_owned(),
            worker_metrics_listen: "127.0.0.1:7702".to_owned(),
            blob_url: "file:data/blobs".to_owned(),
            spool_dir: "data/spool".into(),
            templates_dir: "templates".into(),
            warden_path: PathBuf::new(),
            docker_host: String::new(),
            runtime: String::new(),
            apparmor_profile: String::new(),
            allow_unenforced: String::new(),
            cells_memory_mib: 0,
            cells_pids: 0,
            cells_cpu_weight: 25,
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
            output_head_bytes: 512 * 1024,
            output_tail_bytes: 512 * 1024,
            output_limit_bytes: 64 * 1024 * 1024,
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the settings file {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{source_name}: {reason}; the README lists every setting")]
    Invalid { source_name: String, reason: String },
    #[error("unknown setting {key} in {source_name}{}", hint(.key))]
    UnknownKey { key: String, source_name: String },
    #[error("setting {key} is {value}, it must be {must}")]
    OutOfRange { key: &'static str, value: String, must: &'static str },
}

fn hint(key: &str) -> String {
    let key = key.trim_start_matches("ASSIZE_").to_lowercase();
    SETTINGS
        .iter()
        .find(|setting| setting.key.contains(&key) || key.contains(setting.key))
        .map_or_else(String::new, |near| format!("; did you mean {}?", near.key))
}

impl Config {
    /// Reads `file` (or `assize.toml` here, if there is one), then the environment.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or variable, the key and what it must be.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let default_file = Path::new("assize.toml");
        let file = file.or_else(|| default_file.exists().then_some(default_file));
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })?,
        };
        let name = file.map_or_else(|| "assize.toml".to_owned(), |path| path.display().to_string());
        Self::from_sources(&name, &text, std::env::vars())
    }

    fn from_sources(
        name: &str,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let invalid = |source_name: &str, reason: String| ConfigError::Invalid {
            source_name: source_name.to_owned(),
            reason: reason.trim_end().replace('\n', " "),
        };
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| invalid(name, error.to_string()))?;
        if let Some(key) = table.keys().find(|key| SETTINGS.iter().all(|setting| setting.key != *key)) {
            return Err(ConfigError::UnknownKey { key: key.clone(), source_name: name.to_owned() });
        }
        toml::Value::Table(table.clone())
            .try_into::<Self>()
            .map_err(|error: toml::de::Error| invalid(name, error.to_string()))?;
        for (variable, value) in environment {
            let Some(key) = key_of(&variable)? else { continue };
            let value = match value.parse::<i64>() {
                Ok(number) if !matches!(key, "instance" | "log") => toml::Value::Integer(number),
                _ => toml::Value::String(value),
            };
            table.insert(key.to_owned(), value);
            toml::Value::Table(table.clone())
                .try_into::<Self>()
                .map_err(|error: toml::de::Error| invalid(&variable, error.to_string()))?;
        }
        let config: Self =
            toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| invalid(name, error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let positive: [(&'static str, u64); 15] = [
            ("database_connections", self.database_connections.into()),
            ("max_active_evaluations", self.max_active_evaluations.into()),
            ("max_active_browser_evals", self.max_active_browser_evals.into()),
            ("max_active_api_evals", self.max_active_api_evals.into()),
            ("per_org_max_active", self.per_org_max_active.into()),
            ("per_user_max_active", self.per_user_max_active.into()),
            ("max_queued", self.max_queued.into()),
            ("per_org_max_queued", self.per_org_max_queued.into()),
            ("per_user_max_queued", self.per_user_max_queued.into()),
            ("berth_max_runs", self.berth_max_runs.into()),
            ("max_archive_bytes", self.max_archive_bytes),
            ("max_archive_entries", self.max_archive_entries),
            ("max_unpacked_bytes", self.max_unpacked_bytes),
            ("max_archive_ratio", self.max_archive_ratio),
            ("output_limit_bytes", self.output_limit_bytes),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::OutOfRange { key, value: "0".to_owned(), must: "at least 1" });
        }
        if self.max_active_evaluations > MOST_SLOTS {
            return Err(ConfigError::OutOfRange {
                key: "max_active_evaluations",
                value: self.max_active_evaluations.to_string(),
                must: "at most 100000",
            });
        }
        let days = [
            ("keep_archives_days", self.keep_archives_days),
            ("keep_output_days", self.keep_output_days),
            ("keep_runs_days", self.keep_runs_days),
        ];
        if let Some((key, value)) = days.into_iter().find(|(_, days)| *days > MOST_DAYS) {
            return Err(ConfigError::OutOfRange { key, value: value.to_string(), must: "at most 36500" });
        }
        let sizes = [("min_free_disk_mib", self.min_free_disk_mib), ("cells_memory_mib", self.cells_memory_mib)];
        if let Some((key, value)) = sizes.into_iter().find(|(_, mib)| *mib > MOST_MIB) {
            return Err(ConfigError::OutOfRange { key, value: value.to_string(), must: "at most 1073741824" });
        }
        if !(1..=10_000).contains(&self.cells_cpu_weight) {
            let value = self.cells_cpu_weight.to_string();
            return Err(ConfigError::OutOfRange { key: "cells_cpu_weight", value, must: "1 to 10000" });
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.instance.is_empty() || self.instance.len() > 40 || !self.instance.chars().all(plain) {
            return Err(ConfigError::OutOfRange {
                key: "instance",
                value: format!("{:?}", self.instance),
                must: "1 to 40 characters of a-z, 0-9 and -",
            });
        }
        Ok(())
    }

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

/// A hundred years; keeps times far from the first that Postgres knows.
const MOST_DAYS: u32 = 36_500;

/// A pebibyte.
const MOST_MIB: u64 = 1 << 30;

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// The setting that an environment variable names; an unknown `ASSIZE_` name is an error.
fn key_of(variable: &str) -> Result<Option<&'static str>, ConfigError> {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.alias == Some(variable)) {
        return Ok(Some(setting.key));
    }
    let Some(name) = variable.strip_prefix("ASSIZE_") else { return Ok(None) };
    if CLIENT_VARIABLES.contains(&variable) {
        return Ok(None);
    }
    let key = name.to_lowercase();
    match SETTINGS.iter().find(|setting| setting.key == key) {
        Some(setting) => Ok(Some(setting.key)),
        None => Err(ConfigError::UnknownKey { key: variable.to_owned(), source_name: "the environment".to_owned() }),
    }
}

/// Variables of the command line and the build, not of the service.
const CLIENT_VARIABLES: &[&str] = &[
    "ASSIZE_CONFIG",
    "ASSIZE_URL",
    "ASSIZE_KEY",
    "ASSIZE_DATA",
    "ASSIZE_DEBIAN_MIRROR",
    "ASSIZE_EXTRA_CA_FILE",
    "ASSIZE_PULL",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::from_sources("assize.toml", text, environment)
    }

    #[test]
    fn the_environment_outranks_the_file() {
        let config = load("worker_slots = 3\ninstance = \"one\"", &[("ASSIZE_WORKER_SLOTS", "5")]).unwrap();
        assert_eq!((config.worker_slots, config.instance.as_str()), (5, "one"));
    }

    #[test]
    fn the_plans_own_names_are_accepted() {
        assert_eq!(load("", &[("MAX_ACTIVE_EVALUATIONS", "7")]).unwrap().max_active_evaluations, 7);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let in_file = load("worker_slot = 3", &[]).unwrap_err().to_string();
        assert_eq!(in_file, "unknown setting worker_slot in assize.toml; did you mean worker_slots?");
        let in_environment = load("", &[("ASSIZE_NO_SUCH", "1")]).unwrap_err().to_string();
        assert_eq!(in_environment, "unknown setting ASSIZE_NO_SUCH in the environment");
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_its_source() {
        let error = load("", &[("ASSIZE_WORKER_SLOTS", "many")]).unwrap_err().to_string();
        assert!(error.starts_with("ASSIZE_WORKER_SLOTS: "), "{error}");
        let error = load("", &[("ASSIZE_MAX_ARCHIVE_BYTES", "0")]).unwrap_err().to_string();
        assert_eq!(error, "setting max_archive_bytes is 0, it must be at least 1");
        let error = load("keep_runs_days = 36501", &[]).unwrap_err().to_string();
        assert_eq!(error, "setting keep_runs_days is 36501, it must be at most 36500");
    }

    #[test]
    fn every_setting_is_listed_once() {
        let fields = toml::Table::try_from(Config::default()).unwrap();
        let listed: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        let mut missing: Vec<_> = fields.keys().filter(|key| !listed.contains(&key.as_str())).collect();
        missing.dedup();
        assert!(missing.is_empty() && listed.len() == fields.len(), "not listed: {missing:?}");
    }
}
