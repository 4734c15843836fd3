//! The content of a signed statement: an in-toto Statement v1 with one of two predicates.
//!
//! Fields may be added to a predicate; a verifier passes by what it does not know. One whose meaning changes
//! gets another type.

use assize_protocol::event::StageExit;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use assize_domain::artifact::Origin;
use assize_domain::run::{Cause, FailureCode, StageName, Status};
use assize_domain::verdict::{Integrity, Verdict};

/// `_type` of every statement.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a [`RunStatement`].
pub const RUN: &str = "urn:assize:run:v1";
/// `predicateType` of a [`Receipt`].
pub const RECEIPT: &str = "urn:assize:receipt:v1";
/// `predicateType` of a [`crate::ReadinessStatement`].
pub const READINESS: &str = "urn:assize:readiness:v1";

/// The outer form of a statement: its subject and its predicate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InToto<P> {
    /// `_type`: [`STATEMENT`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// The archive: named by the submission's id, found by its SHA-256. Of a [`READINESS`] statement: the program.
    pub subject: Vec<Material>,
    /// `predicateType`: [`RUN`], [`RECEIPT`] or [`READINESS`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is stated about the subject.
    pub predicate: P,
}

impl<P> InToto<P> {
    /// A statement about the archive of a submission.
    pub fn about(submission: Uuid, archive_sha256: &str, predicate_type: &str, predicate: P) -> Self {
        Self::new(Material::new(submission.to_string(), archive_sha256), predicate_type, predicate)
    }

    /// A statement about any one thing.
    pub fn new(subject: Material, predicate_type: &str, predicate: P) -> Self {
        Self {
            kind: STATEMENT.to_owned(),
            subject: vec![subject],
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }
}

/// A thing with a name, and the digest that tells which one is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// Name of the thing.
    pub name: String,
    /// Digest of the thing.
    pub digest: Sha256Digest,
}

impl Material {
    /// From its name and 64 hexadecimal digits.
    pub fn new(name: impl Into<String>, sha256: &str) -> Self {
        Self { name: name.into(), digest: Sha256Digest { sha256: sha256.to_owned() } }
    }
}

/// As in-toto writes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sha256Digest {
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// The receipt of a submission: what was received, from whom, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The submission.
    pub submission_id: Uuid,
    /// Its first run.
    pub run_id: Uuid,
    /// The organisation of the submission.
    pub organization_id: Uuid,
    /// Name of the user, as the platform sent it.
    pub user: String,
    /// Name of the template.
    pub template: String,
    /// Length of the uploaded archive.
    pub archive_bytes: i64,
    /// When the last byte was here and looked through, by the database's clock. The row is written after that.
    pub received_at: DateTime<Utc>,
    /// Source of the archive, if it was fetched and not uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Id of the key that signs: [`crate::PublicKey::id`].
    pub key_id: String,
}

/// A commit that was fetched from a Git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Address of the repository, as it was submitted.
    pub repository_url: String,
    /// Branch, tag or commit, as it was submitted.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The fetched commit, in hexadecimal.
    pub commit: String,
}

/// The outcome of a run, with everything that it was decided by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStatement {
    /// The run.
    pub run_id: Uuid,
    /// The submission of the run.
    pub submission_id: Uuid,
    /// The organisation of the submission.
    pub organization_id: Uuid,
    /// Number of the attempt that ended, from 1.
    pub attempt: i32,
    /// Name, and digest over `template.toml` and the tests. Absent if the worker had no such template.
    pub template: Option<Material>,
    /// The cells of the run.
    pub cells: Vec<CellStatement>,
    /// Time limit of all stages together, in ms.
    pub global_timeout_ms: Option<u64>,
    /// In the order in which they ended.
    pub stages: Vec<StageStatement>,
    /// The kept output of this attempt, as `GET /v1/runs/{id}/output?format=ndjson` gives it. Absent if it could
    /// not be kept.
    pub output: Option<OutputStatement>,
    /// The files that the run handed out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactStatement>,
    /// Who could have written the results.
    pub integrity: Option<Integrity>,
    /// Terminal state of the run.
    pub status: Status,
    /// Verdict of a completed run.
    pub verdict: Option<Verdict>,
    /// Failure of every other run.
    pub failure: Option<FailureStatement>,
    /// When it was claimed, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// When this was signed, by the database's clock. The row's own end is written after that.
    pub finished_at: DateTime<Utc>,
    /// Id of the key that signs: [`crate::PublicKey::id`].
    pub key_id: String,
}

/// A cell, as the template defines it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellStatement {
    /// `subject` or `driver`.
    pub role: String,
    /// The name in the template.
    pub image: String,
    /// The id of the image that the engine made the cell from: SHA-256 of its configuration. Absent if there
    /// was no such cell at the end, or the engine did not say.
    pub image_digest: Option<Sha256Digest>,
    /// As the template has them.
    pub limits: serde_json::Value,
    /// Bytes that one stage may write.
    pub output_limit_bytes: u64,
    /// Time limits of the stages.
    pub stages: Vec<StageLimit>,
}

/// The time limit of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageLimit {
    /// Name of the stage.
    pub name: String,
    /// Time limit of the stage, in ms.
    pub timeout_ms: u64,
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageStatement {
    /// Role of the stage's cell.
    pub cell: String,
    /// Name of the stage.
    pub name: StageName,
    /// How the stage's first process ended.
    pub exit: StageExit,
    /// Duration of the stage, in ms.
    pub duration_ms: u64,
    /// User and system time of the stage's processes, in ms.
    pub cpu_ms: u64,
    /// Largest resident set among the stage's processes, in KiB.
    pub max_rss_kib: u64,
    /// Bytes that the stage wrote, stored or not.
    pub output_bytes: u64,
}

/// The stored output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputStatement {
    /// SHA-256 of the stored output.
    pub digest: Sha256Digest,
    /// Length of the stored output, in bytes.
    pub bytes: u64,
}

/// A file that the run handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactStatement {
    /// Path of the file in its cell, without the first slash.
    pub name: String,
    /// The cell of the file.
    pub origin: Origin,
    /// SHA-256 of the file.
    pub digest: Sha256Digest,
    /// Length of the file, in bytes.
    pub bytes: u64,
}

impl ArtifactStatement {
    /// Whether a file with this SHA-256 is the artifact.
    ///
    /// # Errors
    /// [`crate::Refused::Artifact`] if not.
    pub fn check(&self, sha256: &str) -> Result<(), crate::Refused> {
        if sha256 == self.digest.sha256 {
            return Ok(());
        }
        let (name, wanted) = (self.name.clone(), self.digest.sha256.clone());
        Err(crate::Refused::Artifact { name, wanted, seen: sha256.to_owned() })
    }
}

/// Why a run has no verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureStatement {
    /// Reason of the failure.
    pub code: FailureCode,
    /// Who is at fault.
    pub cause: Cause,
    /// Message for the person whose project failed.
    pub message: String,
    /// The stage in which the run failed, if it failed in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageName>,
}

/// To the microsecond, as Postgres keeps times.
#[must_use]
pub fn to_micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_written_one_way() {
        let receipt = Receipt {
            submission_id: Uuid::nil(),
            run_id: Uuid::max(),
            organization_id: Uuid::nil(),
            user: "ada".to_owned(),
            template: "trivial".to_owned(),
            archive_bytes: 22,
            received_at: to_micros("2026-11-21T10:15:30.123456789Z".parse().unwrap()),
            source: None,
            key_id: "k".to_owned(),
        };
        let statement = InToto::about(Uuid::nil(), &"a".repeat(64), RECEIPT, receipt);
        let expected = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"{nil}","digest":{{"sha256":"{}"}}}}],"predicateType":"urn:assize:receipt:v1","predicate":{{"submission_id":"{nil}","run_id":"{}","organization_id":"{nil}","user":"ada","template":"trivial","archive_bytes":22,"received_at":"2026-11-21T10:15:30.123456Z","key_id":"k"}}}}"#,
            "a".repeat(64),
            Uuid::max(),
            nil = Uuid::nil(),
        );
        assert_eq!(serde_json::to_string(&statement).unwrap(), expected);
    }

    #[test]
    fn the_source_of_a_fetched_project_has_its_place() {
        let source = Source {
            repository_url: "https://example.org/a.git".to_owned(),
            reference: "main".to_owned(),
            commit: "0".repeat(40),
        };
        let written = serde_json::to_value(&source).unwrap();
        assert_eq!((&written["ref"], &written["commit"]), (&"main".into(), &"0".repeat(40).into()));
    }
}
