//! Verification of a statement: everything that can be checked offline.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::envelope::Envelope;
use super::key::PublicKey;
use super::keys::{TrustedKey, TrustedKeys};
use super::readiness::{PROGRAM, ReadinessStatement};
use super::statement::{ArtifactStatement, InToto, READINESS, RECEIPT, RUN, Receipt, RunStatement, STATEMENT};

/// Why an envelope fails verification.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message above each variant documents it")]
pub enum Refused {
    #[error("the file has {seen} bytes, the limit is {limit}; give a file that contains only the envelope")]
    TooLong { limit: usize, seen: usize },
    #[error("the file is not a DSSE envelope: {0}; save one with `assize verdict RUN --format dsse`")]
    NotAnEnvelope(String),
    #[error(
        "the envelope has {seen} signatures, it must have 1 to {limit}; save it again with `assize verdict RUN --format dsse`"
    )]
    Signatures { limit: usize, seen: usize },
    #[error("the {what} of the envelope is not base64: {reason}; the envelope was changed in transit: save it again")]
    Base64 { what: &'static str, reason: String },
    #[error(
        "no signature is by one of the {known} keys that were given, the envelope names {named}; fetch the keys again from the operator of the service (`assize key signing export`)"
    )]
    UnknownKey { named: String, known: usize },
    #[error(
        "the signature is invalid: the payload, its type or the signature was changed after signing; save the envelope again"
    )]
    Forged,
    #[error("the payload is of the type {0:?}, not application/vnd.in-toto+json; give a statement of assize")]
    PayloadType(String),
    #[error(
        "the signature is valid, but this version of assize cannot read the statement: {0}; update assize if the statement is newer"
    )]
    NotAStatement(String),
    #[error(
        "the statement is dated {signed_at}, after its key was retired at {retired_at}; ask the operator of the service"
    )]
    Retired { signed_at: DateTime<Utc>, retired_at: DateTime<Utc> },
    #[error(
        "the archive does not match: its SHA-256 is {seen}, the statement names {wanted}; give the archive that was submitted"
    )]
    Archive { wanted: String, seen: String },
    #[error(
        "the output does not match: its SHA-256 is {seen}, the statement names {wanted}; give the output of this attempt"
    )]
    Output { wanted: String, seen: String },
    #[error("the statement names no output; leave out --output")]
    NoOutput,
    #[error(
        "the artifact {name} does not match: its SHA-256 is {seen}, the statement names {wanted}; save the artifacts again"
    )]
    Artifact { name: String, wanted: String, seen: String },
    #[error("the statement names no artifacts; leave out --artifacts")]
    NoArtifacts,
    #[error(
        "the file {name} does not match: its SHA-256 is {seen}, the statement names {wanted}; give the folder of this report"
    )]
    File { name: String, wanted: String, seen: String },
}

/// A statement, by its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// An archive was received.
    Receipt(Box<Receipt>),
    /// A run ended.
    Run(Box<RunStatement>),
    /// A program was put through a load.
    Readiness(Box<ReadinessStatement>),
}

/// A verified statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Id of the key that signed.
    pub key_id: String,
    /// SHA-256 of the archive that the statement is about, in hexadecimal; of a readiness statement, of the program.
    pub archive_sha256: String,
    /// The statement itself.
    pub statement: Statement,
    /// The whole statement as it was signed.
    pub signed: Value,
}

/// Checks an envelope: its form, its signature, its types, and that it does not contradict itself.
///
/// # Errors
/// [`Refused`] by the first check that failed.
pub fn verify(bytes: &[u8], trusted: &TrustedKeys) -> Result<Verified, Refused> {
    let envelope = Envelope::read(bytes)?;
    let keys: Vec<PublicKey> = trusted.as_slice().iter().map(|trusted| trusted.key).collect();
    let (payload, by) = envelope.open(&keys)?;
    let unknown = |reason: String| Refused::NotAStatement(reason);
    let signed: Value = serde_json::from_slice(&payload).map_err(|error| unknown(error.to_string()))?;
    let outer: InToto<Value> = InToto::deserialize_from(&signed)?;
    if outer.kind != STATEMENT {
        return Err(unknown(format!("_type is {:?}, not {STATEMENT}", shortened(&outer.kind))));
    }
    let [subject] = outer.subject.as_slice() else {
        return Err(unknown(format!("it is about {} things, not one", outer.subject.len())));
    };
    if !is_sha256(&subject.digest.sha256) {
        return Err(unknown("its subject has no SHA-256 in lower-case hexadecimal".to_owned()));
    }
    let (statement, subject_name, key_id, signed_at) = match outer.predicate_type.as_str() {
        RECEIPT => {
            let receipt: Receipt = typed(outer.predicate)?;
            let (id, key, at) = (receipt.submission_id.to_string(), receipt.key_id.clone(), receipt.received_at);
            (Statement::Receipt(Box::new(receipt)), id, key, at)
        }
        RUN => {
            let run: RunStatement = typed(outer.predicate)?;
            if run.verdict.is_some() == run.failure.is_some() {
                return Err(unknown("a run ends with a verdict or with a failure".to_owned()));
            }
            let (id, key, at) = (run.submission_id.to_string(), run.key_id.clone(), run.finished_at);
            (Statement::Run(Box::new(run)), id, key, at)
        }
        READINESS => {
            let readiness: ReadinessStatement = typed(outer.predicate)?;
            let (key, at) = (readiness.key_id.clone(), readiness.signed_at);
            (Statement::Readiness(Box::new(readiness)), PROGRAM.to_owned(), key, at)
        }
        other => return Err(unknown(format!("predicateType is {:?}", shortened(other)))),
    };
    if subject.name != subject_name {
        return Err(unknown("its subject and its predicate name different submissions".to_owned()));
    }
    // Other keys may have signed as well, but the key that the statement names must be among the signers.
    let signers = || by.iter().filter_map(|at| trusted.as_slice().get(*at));
    let Some(signer) = signers().find(|signer| signer.id == key_id) else {
        let seen: Vec<&str> = signers().map(|signer| signer.id.as_str()).collect();
        let named = shortened(&key_id);
        return Err(unknown(format!("it names {named} as its signer, but it is signed by {}", seen.join(", "))));
    };
    check_time(signer, signed_at)?;
    Ok(Verified { key_id, archive_sha256: subject.digest.sha256.clone(), statement, signed })
}

fn check_time(by: &TrustedKey, signed_at: DateTime<Utc>) -> Result<(), Refused> {
    match by.retired_at {
        Some(retired_at) if signed_at > retired_at => Err(Refused::Retired { signed_at, retired_at }),
        _ => Ok(()),
    }
}

impl InToto<Value> {
    fn deserialize_from(signed: &Value) -> Result<Self, Refused> {
        typed(signed.clone())
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Refused> {
    serde_json::from_value(value).map_err(|error| Refused::NotAStatement(error.to_string()))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

impl Verified {
    /// Whether an archive with this SHA-256 is the one that the statement is about.
    ///
    /// # Errors
    /// [`Refused::Archive`] if not.
    pub fn check_archive(&self, sha256: &str) -> Result<(), Refused> {
        if sha256 == self.archive_sha256 {
            return Ok(());
        }
        Err(Refused::Archive { wanted: self.archive_sha256.clone(), seen: sha256.to_owned() })
    }

    /// Whether output with this SHA-256 is what the run wrote.
    ///
    /// # Errors
    /// [`Refused::Output`] if not, [`Refused::NoOutput`] if the statement does not say.
    pub fn check_output(&self, sha256: &str) -> Result<(), Refused> {
        let Statement::Run(run) = &self.statement else { return Err(Refused::NoOutput) };
        let wanted = &run.output.as_ref().ok_or(Refused::NoOutput)?.digest.sha256;
        if sha256 == wanted {
            return Ok(());
        }
        Err(Refused::Output { wanted: wanted.clone(), seen: sha256.to_owned() })
    }

    /// The files that the statement says the run handed out.
    ///
    /// # Errors
    /// [`Refused::NoArtifacts`] if it names none.
    pub fn artifacts(&self) -> Result<&[ArtifactStatement], Refused> {
        match &self.statement {
            Statement::Run(run) if !run.artifacts.is_empty() => Ok(&run.artifacts),
            Statement::Run(_) | Statement::Receipt(_) | Statement::Readiness(_) => Err(Refused::NoArtifacts),
        }
    }
}
