//! Settings: defaults, then files, credentials and the environment. An unknown key is an error.
//!
//! The table in `settings.rs` is the one list: it yields [`Config`], its defaults, the types, the ranges and
//! [`SETTINGS`], from which docs/configuration.md is generated. `load.rs` reads the sources with the crate `config`, and
//! `names.rs` decides which names exist.

mod constants;
mod error;
mod load;
mod names;
mod setting;
mod settings;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use constants::Constants;
pub use error::{ConfigError, ConfigProblem};
pub use load::{SettingsFiles, credential};
pub use setting::{Kind, Range, Setting};
pub use settings::{Config, SETTINGS};

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

impl Config {
    /// The address of Postgres for commands that act as the owner of the tables.
    #[must_use]
    pub fn owner_database_url(&self) -> &str {
        if self.database_direct_url.is_empty() { &self.database_url } else { &self.database_direct_url }
    }

    /// How long a process that starts waits for Postgres.
    #[must_use]
    pub fn database_wait(&self) -> Duration {
        Duration::from_secs(self.database_wait_s.into())
    }

    /// Half-slots of this worker.
    #[must_use]
    pub fn worker_half_slots(&self) -> u32 {
        let slots = if self.worker_slots == 0 { cores().max(2) } else { self.worker_slots };
        slots.min(settings::MAX_SLOTS) * 2
    }
}

/// Cells that may be in creation at one time: two per core. With more, each takes longer and none is ready earlier.
#[must_use]
pub fn concurrent_creates() -> usize {
    (cores() as usize * 2).max(1)
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}
