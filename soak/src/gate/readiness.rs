//! The signed statement of a gate, which `assize verify` checks.

use std::path::Path;

use anyhow::{Context, Result};
use assize_signing::readiness::{PROGRAM, ReadinessCondition, ReadinessStatement};
use assize_signing::statement::{InToto, Material, READINESS};
use assize_signing::{Envelope, PrivateKey, key_file};
use chrono::{DateTime, Utc};

use super::conditions::{Clocks, Condition, Outcome};
use super::planted::Finding;
use super::thresholds;
use crate::recording::Recording;

/// Reads the signing key of a file. A file that does not exist is created with a new key.
pub fn signing_key(path: &Path) -> Result<PrivateKey> {
    if !path.exists() {
        key_file::create(path, &PrivateKey::generate())?;
    }
    let (key, _) = key_file::read(path)?;
    Ok(key)
}

/// Returns whether every condition passed and every planted fault was found.
pub fn is_ready(conditions: &[Condition], findings: &[Finding]) -> bool {
    conditions.iter().all(|condition| condition.outcome() == Outcome::Passed)
        && findings.iter().all(|finding| finding.found)
}

/// Signs the outcome. `files` are names with their SHA-256.
pub fn sign(
    key: &PrivateKey,
    recording: &Recording,
    conditions: &[Condition],
    findings: &[Finding],
    files: &[(String, String)],
    signed_at: DateTime<Utc>,
) -> Result<Envelope> {
    let head = &recording.head;
    let program = head.programs.get(PROGRAM).context("head.json names no program `assize`")?;
    let outcome = |condition: &Condition| {
        let text = serde_json::to_value(condition.outcome())?;
        anyhow::Ok(text.as_str().unwrap_or_default().to_owned())
    };
    let stated = |condition: &Condition| {
        anyhow::Ok(ReadinessCondition {
            name: condition.name.to_owned(),
            claim: condition.claim.to_owned(),
            method: condition.method.to_owned(),
            outcome: outcome(condition)?,
            checks: serde_json::to_value(&condition.checks)?,
        })
    };
    let statement = ReadinessStatement {
        ready: is_ready(conditions, findings),
        begun_at: head.begun_at,
        ended_at: head.ended_at,
        signed_at,
        commit: head.commit.clone(),
        programs: head.programs.iter().map(|(name, sha256)| Material::new(name, sha256)).collect(),
        host: serde_json::to_value(&head.host)?,
        settings: serde_json::to_value(&head.settings)?,
        clocks: serde_json::to_value(Clocks::of_recording(recording))?,
        thresholds: Material::new("soak/thresholds.toml", &thresholds::sha256()),
        conditions: conditions.iter().map(stated).collect::<Result<_>>()?,
        planted: serde_json::to_value(findings)?,
        files: files.iter().map(|(name, sha256)| Material::new(name, sha256)).collect(),
        notes: head.notes.clone(),
        key_id: key.id().to_owned(),
    };
    let statement = InToto::new(Material::new(PROGRAM, program), READINESS, statement);
    Ok(Envelope::sign(key, &serde_json::to_vec(&statement)?))
}

#[cfg(test)]
mod tests {
    use assize_signing::{Refused, Statement, TrustedKeys, verify};

    use super::*;
    use crate::gate::thresholds::Thresholds;
    use crate::gate::{conditions, fixture};

    fn sealed(key: &PrivateKey, findings: &[Finding]) -> Vec<u8> {
        let recording = fixture::recording();
        let conditions = conditions::conditions(&recording, &Thresholds::committed().unwrap());
        let files = [("samples.ndjson".to_owned(), "c".repeat(64))];
        let envelope = sign(key, &recording, &conditions, findings, &files, recording.head.ended_at).unwrap();
        serde_json::to_vec(&envelope).unwrap()
    }

    #[test]
    fn assize_verify_believes_the_statement_and_no_changed_one() {
        let key = PrivateKey::generate();
        let trusted = TrustedKeys::read(&key.public().to_pem()).unwrap();
        let bytes = sealed(&key, &[]);
        let verified = verify(&bytes, &trusted).unwrap();
        let Statement::Readiness(readiness) = verified.statement else { panic!("not of a gate") };
        assert!(readiness.ready && readiness.conditions.len() == 5);
        assert_eq!(verified.archive_sha256, "a".repeat(64));
        let other = TrustedKeys::read(&PrivateKey::generate().public().to_pem()).unwrap();
        assert!(matches!(verify(&bytes, &other), Err(Refused::UnknownKey { .. })));
    }

    #[test]
    fn a_planted_fault_that_is_not_found_takes_the_readiness_away() {
        let key = PrivateKey::generate();
        let trusted = TrustedKeys::read(&key.public().to_pem()).unwrap();
        let missed = Finding { fault: "a fault", check: "books: lost".to_owned(), found: false };
        let verified = verify(&sealed(&key, &[missed]), &trusted).unwrap();
        let Statement::Readiness(readiness) = verified.statement else { panic!("not of a gate") };
        assert!(!readiness.ready);
    }
}
