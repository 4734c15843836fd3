//! Whether a statement is one of ours: everything that can be checked without asking anyone.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::envelope::Envelope;
use super::key::PublicKey;
use super::keys::{TrustedKey, TrustedKeys};
use super::statement::{InToto, RECEIPT, RUN, Receipt, RunStatement, STATEMENT};

/// Why an envelope is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("it has {seen} bytes, the limit is {limit}; give the envelope alone")]
    TooLong { limit: usize, seen: usize },
    #[error("it is not a DSSE envelope: {0}; save one with `assize verdict RUN --format dsse`")]
    NotAnEnvelope(String),
    #[error("it has {seen} signatures, it must have 1 to {limit}")]
    Signatures { limit: usize, seen: usize },
    #[error("its {what} is not base64: {reason}; it was changed on the way")]
    Base64 { what: &'static str, reason: String },
    #[error(
        "none of the {known} given keys made a signature of it, and it names {named}; get the current keys from the operator of the service (`assize key signing export`)"
    )]
    UnknownKey { named: String, known: usize },
    #[error("the signature is wrong: payload, type or signature was changed after it was signed")]
    Forged,
    #[error("its payload is of the type {0:?}, not application/vnd.in-toto+json; it is not a statement of assize")]
    PayloadType(String),
    #[error(
        "its signature is valid, but this program cannot read its content: {0}; use a version that is not older than the service"
    )]
    NotAStatement(String),
    #[error(
        "it is dated {signed_at}, and its key was retired at {retired_at}; later signatures of a retired key are not valid"
    )]
    Retired { signed_at: DateTime<Utc>, retired_at: DateTime<Utc> },
    #[error("the archive does not match: its SHA-256 is {seen}, and the statement describes {wanted}")]
    Archive { wanted: String, seen: String },
    #[error("the output does not match: its SHA-256 is {seen}, and the statement describes {wanted}")]
    Output { wanted: String, seen: String },
    #[error("the statement describes no output; omit --output")]
    NoOutput,
}

/// What was said.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    Receipt(Box<Receipt>),
    Run(Box<RunStatement>),
}

/// A statement that is believed.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// Of the key that signed.
    pub key_id: String,
    /// Of the archive.
    pub archive_sha256: String,
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
    let (statement, submission, key_id, signed_at) = match outer.predicate_type.as_str() {
        RECEIPT => {
            let receipt: Receipt = typed(outer.predicate)?;
            let (id, key, at) = (receipt.submission_id, receipt.key_id.clone(), receipt.received_at);
            (Statement::Receipt(Box::new(receipt)), id, key, at)
        }
        RUN => {
            let run: RunStatement = typed(outer.predicate)?;
            if run.verdict.is_some() == run.failure.is_some() {
                return Err(unknown("a run ends with a verdict or with a failure".to_owned()));
            }
            let (id, key, at) = (run.submission_id, run.key_id.clone(), run.finished_at);
            (Statement::Run(Box::new(run)), id, key, at)
        }
        other => return Err(unknown(format!("predicateType is {:?}", shortened(other)))),
    };
    if subject.name != submission.to_string() {
        return Err(unknown("its subject and its predicate name two submissions".to_owned()));
    }
    // Others may have signed it as well; whoever says that it is his word must have.
    let signers = || by.iter().filter_map(|at| trusted.as_slice().get(*at));
    let Some(signer) = signers().find(|signer| signer.id == key_id) else {
        let seen: Vec<&str> = signers().map(|signer| signer.id.as_str()).collect();
        let said = shortened(&key_id);
        return Err(unknown(format!(
            "it says that it is signed by {said}, and of the given keys {} did",
            seen.join(", ")
        )));
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
}
