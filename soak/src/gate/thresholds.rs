//! What the gate requires: `soak/thresholds.toml`, which is part of the program and of the repository.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The committed file.
pub const TEXT: &str = include_str!("../../thresholds.toml");

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub load: LoadThresholds,
    pub infrastructure: InfrastructureThresholds,
    pub p95: P95Thresholds,
    pub growth: GrowthThresholds,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadThresholds {
    pub in_flight: u64,
    pub held_share: f64,
    pub little_share: f64,
    pub hours: f64,
    pub host_cpus: u64,
    pub host_memory_mib: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfrastructureThresholds {
    pub share: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct P95Thresholds {
    pub queue_wait_s: f64,
    pub run_time_a_s: f64,
    pub run_time_b_s: f64,
    pub run_time_c_s: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrowthThresholds {
    pub max_gap_s: f64,
    pub recovery_s: f64,
    pub min_runs: u64,
    pub blocks: usize,
    /// The largest growth of each series per 1,000 runs.
    pub limits: BTreeMap<String, f64>,
}

impl Thresholds {
    /// Reads the committed file.
    pub fn committed() -> Result<Self> {
        toml::from_str(TEXT).context("soak/thresholds.toml")
    }
}

/// Returns the SHA-256 of the committed file in hexadecimal.
pub fn sha256() -> String {
    hex::encode(Sha256::digest(TEXT))
}
