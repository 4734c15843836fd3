//! The parameters of a run: the file `assize.json` beside the tests, in the cell that decides.
//!
//! A project must not see them before its verdict depends on them: a subject whose driver decides never gets them, and
//! a shared cell gets them with the tests. They are the same in every attempt but for the attempt's number, so that a
//! test whose input depends on the seed has the same input again.

use std::io::{Cursor, Write};

use assize_domain::run::FailureCode;
use assize_domain::unicode::fold;
use assize_store::queue::Claim;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zip::ZipWriter;
use zip::result::ZipResult;
use zip::write::SimpleFileOptions;

use super::stop::Stop;
use crate::template::{MAX_PARAMETERS_BYTES, PARAMETERS_FILE, Template};

/// What the tests learn about the submission that they test.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct RunParameters {
    submission_id: Uuid,
    run_id: Uuid,
    attempt: i32,
    /// A pseudonym, or the user as the platform sent it.
    user: String,
    submitted_at: String,
    /// No submission has a due date yet.
    due_at: Option<String>,
    metadata: Value,
    /// 64 bits in hexadecimal: many programs read large numbers in JSON wrongly.
    seed: String,
}

impl RunParameters {
    fn new(claim: &Claim, names_user: bool) -> Result<Self, String> {
        let metadata = serde_json::from_str(&claim.metadata)
            .map_err(|error| format!("the metadata of the submission cannot be read: {error}"))?;
        let user = if names_user { claim.user.clone() } else { pseudonym(claim.organization_id, &claim.user) };
        Ok(Self {
            submission_id: claim.project_submission_id,
            run_id: claim.id,
            attempt: claim.attempt,
            user,
            submitted_at: timestamp(claim.submitted_at),
            due_at: None,
            metadata,
            seed: seed(claim.project_submission_id),
        })
    }
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The same text for the same user of an organisation, from which nobody reads the user. Users whose names count as
/// one have one pseudonym.
fn pseudonym(organization: Uuid, user: &str) -> String {
    digest(b"assize user\0", organization, fold(user).as_bytes(), 16)
}

fn seed(submission: Uuid) -> String {
    digest(b"assize seed\0", submission, b"", 8)
}

/// The first bytes of a digest, in hexadecimal.
fn digest(purpose: &[u8], id: Uuid, text: &[u8], bytes: usize) -> String {
    let digest = Sha256::new().chain_update(purpose).chain_update(id.as_bytes()).chain_update(text).finalize();
    digest.iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

/// The archive for the grader's folder: the tests of the template, and the parameters of the run.
///
/// # Errors
/// The run has failed: its parameters cannot be written.
pub fn grader_archive(template: &Template, claim: &Claim) -> Result<Bytes, Stop> {
    let failed = |message: String| Stop::failed(FailureCode::WorkerLost, message);
    let parameters = RunParameters::new(claim, template.parameters.user).map_err(failed)?;
    let text = serde_json::to_vec_pretty(&parameters).map_err(|error| failed(error.to_string()))?;
    let seen = text.len() as u64;
    if seen > MAX_PARAMETERS_BYTES {
        let message = format!(
            "the parameters of the run have {seen} bytes, the limit is {MAX_PARAMETERS_BYTES}; send less metadata"
        );
        return Err(failed(message));
    }
    append(&template.bundle, &text)
        .map_err(|error| failed(format!("the parameters of the run cannot be packed: {error}")))
}

/// The bundle with one more file. Its entries stay as they are.
fn append(bundle: &Bytes, parameters: &[u8]) -> ZipResult<Bytes> {
    let mut zip = match bundle.is_empty() {
        true => ZipWriter::new(Cursor::new(Vec::new())),
        false => ZipWriter::new_append(Cursor::new(bundle.to_vec()))?,
    };
    zip.start_file(PARAMETERS_FILE, SimpleFileOptions::default().last_modified_time(zip::DateTime::default()))?;
    zip.write_all(parameters)?;
    Ok(zip.finish()?.into_inner().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn claim(user: &str, metadata: &str) -> Claim {
        Claim {
            id: Uuid::from_u128(1),
            project_submission_id: Uuid::from_u128(2),
            organization_id: Uuid::from_u128(3),
            user: user.to_owned(),
            template: "t".to_owned(),
            half_slots: 1,
            attempt: 2,
            lease_epoch: 1,
            crashes: 0,
            submitted_at: DateTime::UNIX_EPOCH,
            started_at: DateTime::UNIX_EPOCH,
            held_since: DateTime::UNIX_EPOCH,
            archive_sha256: None,
            archive_bytes: None,
            archive_entries: None,
            repository_url: None,
            repository_ref: None,
            metadata: metadata.to_owned(),
        }
    }

    #[test]
    fn the_parameters_of_a_run_are_these() {
        let seen = serde_json::to_value(RunParameters::new(&claim("Ada", r#"{"a": [1]}"#), false).unwrap()).unwrap();
        assert_eq!(
            seen,
            serde_json::json!({
                "submission_id": "00000000-0000-0000-0000-000000000002",
                "run_id": "00000000-0000-0000-0000-000000000001",
                "attempt": 2,
                "user": pseudonym(Uuid::from_u128(3), "Ada"),
                "submitted_at": "1970-01-01T00:00:00.000Z",
                "due_at": null,
                "metadata": {"a": [1]},
                "seed": seed(Uuid::from_u128(2)),
            })
        );
    }

    #[test]
    fn a_user_is_a_pseudonym_unless_the_template_wants_the_name() {
        let organization = Uuid::from_u128(3);
        let named = RunParameters::new(&claim("Ada", "{}"), true).unwrap();
        let unnamed = RunParameters::new(&claim("Ada", "{}"), false).unwrap();
        assert_eq!(named.user, "Ada");
        assert_eq!((unnamed.user.len(), unnamed.user.to_lowercase().contains("ada ")), (32, false));
        assert_eq!(unnamed.user, pseudonym(organization, "ADA"), "they count as one user");
        assert_ne!(unnamed.user, pseudonym(organization, "Bob"));
        assert_ne!(unnamed.user, pseudonym(Uuid::from_u128(4), "Ada"), "another organisation");
    }

    /// Whoever stored the inputs that a seed gave must find them again with every later version.
    #[test]
    fn the_seed_of_a_submission_never_changes() {
        assert_eq!(seed(Uuid::from_u128(2)), seed(Uuid::from_u128(2)));
        assert_ne!(seed(Uuid::from_u128(2)), seed(Uuid::from_u128(3)));
        assert_eq!(seed(Uuid::nil()), "16c277eab0c16855");
        assert_eq!(pseudonym(Uuid::nil(), "ada"), "9a82cb848032c4813ae9a938adf57984");
    }

    /// As long as the door lets metadata in, with what is written longest.
    #[test]
    fn hostile_metadata_fit() {
        let numbers = vec!["1e15"; 16 * 1024 / 5 - 2].join(",");
        let texts = vec![r#""\u0001""#; 16 * 1024 / 9 - 2].join(",");
        let nested = format!("{}{}", "[".repeat(15), "]".repeat(15));
        for metadata in [numbers, texts, nested] {
            let metadata = format!("{{\"a\":[{metadata}]}}");
            let parameters = RunParameters::new(&claim(&"u".repeat(256), &metadata), true).unwrap();
            let bytes = serde_json::to_vec_pretty(&parameters).unwrap().len() as u64;
            assert!(bytes <= MAX_PARAMETERS_BYTES, "{bytes} bytes");
        }
        assert!(RunParameters::new(&claim("u", "{"), false).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn the_tests_stay_beside_the_parameters() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a/test.py", SimpleFileOptions::default()).unwrap();
        zip.write_all(b"tests").unwrap();
        let bundle: Bytes = zip.finish().unwrap().into_inner().into();
        for (bundle, files) in [(bundle, vec!["a/test.py", PARAMETERS_FILE]), (Bytes::new(), vec![PARAMETERS_FILE])] {
            let archive = append(&bundle, b"parameters").unwrap();
            assert!(archive.len() < bundle.len() + 300);
            let mut read = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
            assert_eq!(read.file_names().collect::<Result<Vec<_>, _>>().unwrap(), files);
            let mut text = String::new();
            read.by_name(PARAMETERS_FILE).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "parameters");
        }
    }
}
