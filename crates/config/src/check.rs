//! What every setting must be.

use super::{Config, ConfigError, MOST_SLOTS};

impl Config {
    /// # Errors
    /// [`ConfigError::OutOfRange`]: the first setting that cannot be, its value and what it must be.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let positive: [(&'static str, u64); 20] = [
            ("database_connections", self.database_connections.into()),
            ("max_connections", self.max_connections.into()),
            ("max_connections_per_address", self.max_connections_per_address.into()),
            ("max_held_per_key", self.max_held_per_key.into()),
            ("rate_burst_per_key", self.rate_burst_per_key.into()),
            ("rate_burst_per_address", self.rate_burst_per_address.into()),
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
        let sizes = [
            ("min_free_disk_mib", self.min_free_disk_mib),
            ("cells_memory_mib", self.cells_memory_mib),
            ("egress_max_mib", self.egress_max_mib),
        ];
        if let Some((key, value)) = sizes.into_iter().find(|(_, mib)| *mib > MOST_MIB) {
            return Err(ConfigError::OutOfRange { key, value: value.to_string(), must: "at most 1073741824" });
        }
        if !(1..=MOST_UPLOAD_MIB).contains(&self.egress_upload_mib) {
            let value = self.egress_upload_mib.to_string();
            return Err(ConfigError::OutOfRange { key: "egress_upload_mib", value, must: "1 to 16" });
        }
        let kept = [("output_head_bytes", self.output_head_bytes), ("output_tail_bytes", self.output_tail_bytes)];
        if let Some((key, value)) = kept.into_iter().find(|(_, bytes)| *bytes > MOST_KEPT_BYTES) {
            return Err(ConfigError::OutOfRange { key, value: value.to_string(), must: "at most 4194304" });
        }
        if !(1..=10_000).contains(&self.cells_cpu_weight) {
            let value = self.cells_cpu_weight.to_string();
            return Err(ConfigError::OutOfRange { key: "cells_cpu_weight", value, must: "1 to 10000" });
        }
        if assize_domain::cpu_list::check(&self.cells_processors).is_err() {
            let value = format!("{:?}", self.cells_processors);
            return Err(ConfigError::OutOfRange { key: "cells_processors", value, must: "empty, none, or like 0-3,8" });
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
}

/// A hundred years; keeps times far from the first that Postgres knows.
const MOST_DAYS: u32 = 36_500;

/// A pebibyte.
const MOST_MIB: u64 = 1 << 30;

/// A quarter of a journal: the rest is for output and results.
const MOST_UPLOAD_MIB: u64 = 16;

/// Head and tail of three stages, with what their frames add, stay within half of a journal.
const MOST_KEPT_BYTES: u64 = 4 << 20;
