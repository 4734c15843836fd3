//! The statement about a program that was put through a load: whether it met its conditions, and by which data.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::statement::Material;
use super::verify::Refused;

/// The name of the subject of every [`ReadinessStatement`]: the program.
pub const PROGRAM: &str = "assize";

/// Whether a program met the conditions for production on a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadinessStatement {
    /// Whether every condition passed.
    pub ready: bool,
    /// Start of the load.
    pub begun_at: DateTime<Utc>,
    /// End of the load.
    pub ended_at: DateTime<Utc>,
    /// When this was signed.
    pub signed_at: DateTime<Utc>,
    /// The commit that the programs were built from.
    pub commit: String,
    /// All programs, with their digests.
    pub programs: Vec<Material>,
    /// The machine, by name and value.
    pub host: Value,
    /// The settings of the service, without secrets.
    pub settings: Value,
    /// The wall time, the runs and the cycles of periodic jobs.
    pub clocks: Value,
    /// The file of the thresholds, which were set before the load.
    pub thresholds: Material,
    /// The conditions in their order.
    pub conditions: Vec<ReadinessCondition>,
    /// The faults that were planted into the data, and whether each was found.
    pub planted: Value,
    /// The files of the data and of the report.
    pub files: Vec<Material>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// Id of the key that signs: [`crate::PublicKey::id`].
    pub key_id: String,
}

/// A condition, and whether it was met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadinessCondition {
    /// Name of the condition.
    pub name: String,
    /// What is claimed.
    pub claim: String,
    /// How it was checked.
    pub method: String,
    /// `passed`, `failed` or `not_shown`.
    pub outcome: String,
    /// Each value with its threshold, its interval and its outcome.
    pub checks: Value,
}

/// Whether the named file has the SHA-256 that a statement names.
///
/// # Errors
/// [`Refused::File`] if not.
pub fn check_file(file: &Material, sha256: &str) -> Result<(), Refused> {
    if sha256 == file.digest.sha256 {
        return Ok(());
    }
    Err(Refused::File { name: file.name.clone(), wanted: file.digest.sha256.clone(), seen: sha256.to_owned() })
}
