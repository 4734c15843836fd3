//! Statements that were changed, mislabelled or signed by others, each refused for its reason.

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::envelope::Envelope;
use super::key::PrivateKey;
use super::keys::{PublishedKey, SigningKeys, TrustedKeys};
use super::readiness::{PROGRAM, check_file};
use super::statement::{InToto, Material, READINESS, RECEIPT, RUN};
use super::verify::{Refused, Statement, Verified, verify};

const SHA256: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn receipt(key_id: &str) -> Value {
    json!({
        "submission_id": Uuid::nil(), "run_id": Uuid::max(), "organization_id": Uuid::nil(), "user": "ada",
        "template": "trivial", "archive_bytes": 22, "received_at": "2026-11-21T10:15:30Z", "key_id": key_id,
    })
}

fn run(key_id: &str) -> Value {
    let exit = json!({ "how": "exited", "code": 0 });
    json!({
        "run_id": Uuid::max(), "submission_id": Uuid::nil(), "organization_id": Uuid::nil(), "attempt": 1,
        "template": { "name": "trivial", "digest": { "sha256": SHA256 } },
        "cells": [{
            "role": "subject", "image": "assize/trivial", "image_digest": { "sha256": SHA256 },
            "limits": { "cpus": 0.5, "memory_mib": 64, "pids": 16, "workspace_mib": 8, "workspace_inodes": 100, "tmp_mib": 8 },
            "output_limit_bytes": 1000, "stages": [{ "name": "tests", "timeout_ms": 1000 }],
        }],
        "global_timeout_ms": 10000,
        "stages": [{ "cell": "subject", "name": "tests", "exit": exit, "duration_ms": 5, "cpu_ms": 3, "max_rss_kib": 900,
            "output_bytes": 6 }],
        "output": { "digest": { "sha256": SHA256 }, "bytes": 100 },
        "integrity": "shared", "status": "completed",
        "verdict": { "score": 1.0, "max_score": 1.0, "tests": [], "integrity": "shared" }, "failure": null,
        "started_at": "2026-11-21T10:15:30Z", "finished_at": "2026-11-21T10:15:31Z", "key_id": key_id,
    })
}

fn about(kind: &str, predicate: Value) -> Value {
    serde_json::to_value(InToto::about(Uuid::nil(), SHA256, kind, predicate)).unwrap()
}

fn seal(key: &PrivateKey, statement: &Value) -> Vec<u8> {
    serde_json::to_vec(&Envelope::sign(key, &serde_json::to_vec(statement).unwrap())).unwrap()
}

fn trust(key: &PrivateKey) -> TrustedKeys {
    TrustedKeys::read(&key.public().to_pem()).unwrap()
}

fn verified(key: &PrivateKey, statement: &Value) -> Result<Verified, Refused> {
    verify(&seal(key, statement), &trust(key))
}

#[test]
fn a_statement_of_each_kind_is_believed() {
    let key = PrivateKey::generate();
    let seen = verified(&key, &about(RECEIPT, receipt(key.id()))).unwrap();
    assert!(matches!(&seen.statement, Statement::Receipt(receipt) if receipt.user == "ada"));
    assert_eq!((seen.key_id.as_str(), seen.archive_sha256.as_str()), (key.id(), SHA256));
    let seen = verified(&key, &about(RUN, run(key.id()))).unwrap();
    assert!(matches!(&seen.statement, Statement::Run(run) if run.verdict.as_ref().unwrap().score == 1.0));
    seen.check_archive(SHA256).unwrap();
    seen.check_output(SHA256).unwrap();
    assert!(matches!(seen.artifacts(), Err(Refused::NoArtifacts)), "a statement of before there were any");
    let other = "b".repeat(64);
    assert!(matches!(seen.check_archive(&other), Err(Refused::Archive { seen, .. }) if seen == other));
    assert!(matches!(seen.check_output(&other), Err(Refused::Output { .. })));
}

#[test]
fn the_artifacts_of_a_run_are_named_and_checked() {
    let key = PrivateKey::generate();
    let mut run = run(key.id());
    run["artifacts"] =
        json!([{ "name": "workspace/out/a.png", "origin": "driver", "digest": { "sha256": SHA256 }, "bytes": 3 }]);
    let seen = verified(&key, &about(RUN, run)).unwrap();
    let [artifact] = seen.artifacts().unwrap() else { panic!("one artifact") };
    artifact.check(SHA256).unwrap();
    let other = "b".repeat(64);
    assert!(
        matches!(artifact.check(&other), Err(Refused::Artifact { name, seen, .. }) if seen == other && name.ends_with("a.png"))
    );
}

#[test]
fn a_readiness_statement_is_about_the_program_and_names_its_files() {
    let key = PrivateKey::generate();
    let material = json!({ "name": "report.md", "digest": { "sha256": SHA256 } });
    let predicate = json!({
        "ready": false, "begun_at": "2026-11-21T10:15:30Z", "ended_at": "2026-11-21T12:15:30Z",
        "signed_at": "2026-11-21T12:20:00Z", "commit": "c", "programs": [], "host": {}, "settings": {}, "clocks": {},
        "thresholds": material, "planted": [], "files": [material], "notes": [], "key_id": key.id(),
        "conditions": [{ "name": "load", "claim": "c", "method": "m", "outcome": "not_shown", "checks": [] }],
    });
    let about = |name: &str| {
        serde_json::to_value(InToto::new(Material::new(name, SHA256), READINESS, predicate.clone())).unwrap()
    };
    let seen = verified(&key, &about(PROGRAM)).unwrap();
    let Statement::Readiness(readiness) = &seen.statement else { panic!("{seen:?}") };
    assert!(!readiness.ready && readiness.conditions[0].outcome == "not_shown");
    check_file(&readiness.files[0], SHA256).unwrap();
    let other = "b".repeat(64);
    assert!(matches!(check_file(&readiness.files[0], &other), Err(Refused::File { name, .. }) if name == "report.md"));
    assert!(matches!(seen.check_output(SHA256), Err(Refused::NoOutput)));
    assert!(matches!(verified(&key, &about("another program")), Err(Refused::NotAStatement(_))));
}

#[test]
fn a_second_signature_takes_nothing_away_and_replaces_nothing() {
    let (key, other) = (PrivateKey::generate(), PrivateKey::generate());
    let statement = serde_json::to_vec(&about(RUN, run(key.id()))).unwrap();
    let (mut ours, theirs) = (Envelope::sign(&key, &statement), Envelope::sign(&other, &statement));
    ours.signatures.insert(0, theirs.signatures[0].clone());
    let both = serde_json::to_vec(&ours).unwrap();
    assert_eq!(verify(&both, &trust(&other).and(trust(&key))).unwrap().key_id, key.id());
    assert_eq!(verify(&both, &trust(&key)).unwrap().key_id, key.id());
    // Who trusts only the other has nobody's word for what the statement says of its signer.
    assert!(matches!(verify(&both, &trust(&other)), Err(Refused::NotAStatement(_))));
}

#[test]
fn what_a_newer_program_adds_is_passed_by() {
    let key = PrivateKey::generate();
    let mut statement = about(RUN, run(key.id()));
    statement["predicate"]["weather"] = json!("fine");
    statement["extra"] = json!([1]);
    assert_eq!(verified(&key, &statement).unwrap().signed["predicate"]["weather"], "fine");
}

#[test]
fn a_statement_that_is_signed_and_makes_no_sense_is_refused() {
    let key = PrivateKey::generate();
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 13] = [
        ("_type", |it| it["_type"] = json!("https://in-toto.io/Statement/v0.1")),
        ("predicateType", |it| it["predicateType"] = json!("https://slsa.dev/provenance/v1")),
        ("0 things", |it| it["subject"] = json!([])),
        ("2 things", |it| it["subject"] = json!([it["subject"][0], it["subject"][0]])),
        ("different submissions", |it| it["subject"][0]["name"] = json!(Uuid::max())),
        ("different submissions", |it| it["predicate"]["submission_id"] = json!(Uuid::max())),
        ("no SHA-256", |it| it["subject"][0]["digest"]["sha256"] = json!("A".repeat(64))),
        ("sha256", |it| it["subject"][0]["digest"] = json!({ "md5": "x" })),
        ("names another as its signer", |it| it["predicate"]["key_id"] = json!("another")),
        ("verdict or with a failure", |it| it["predicate"]["verdict"] = Value::Null),
        ("splendid", |it| it["predicate"]["status"] = json!("splendid")),
        ("UUID", |it| it["predicate"]["run_id"] = json!("x")),
        ("predicate", |it| drop(it.as_object_mut().unwrap().remove("predicate"))),
    ];
    for (named, change) in cases {
        let mut statement = about(RUN, run(key.id()));
        change(&mut statement);
        match verified(&key, &statement) {
            Err(Refused::NotAStatement(why)) => assert!(why.contains(named), "{named}: {why}"),
            seen => panic!("{named}: {seen:?}"),
        }
    }
    for payload in [&b""[..], b"{", b"[]", b"null", b"\xff"] {
        let sealed = serde_json::to_vec(&Envelope::sign(&key, payload)).unwrap();
        assert!(matches!(verify(&sealed, &trust(&key)), Err(Refused::NotAStatement(_))));
    }
}

/// Every value of the statement, one after the other, in an envelope that was signed before.
#[test]
fn no_field_can_be_changed_after_it_was_signed() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let key = PrivateKey::generate();
    let statement = about(RUN, run(key.id()));
    let envelope: Envelope = serde_json::from_slice(&seal(&key, &statement)).unwrap();
    let mut pointers = Vec::new();
    leaves(&statement, String::new(), &mut pointers);
    assert!(pointers.len() > 40, "{pointers:?}");
    for pointer in pointers {
        let mut changed = statement.clone();
        let field = changed.pointer_mut(&pointer).unwrap();
        *field = match field.take() {
            Value::String(text) => json!(format!("{text}0")),
            Value::Number(number) => json!(number.as_f64().unwrap() + 1.0),
            Value::Bool(is) => json!(!is),
            _ => json!(1),
        };
        let payload = STANDARD.encode(serde_json::to_vec(&changed).unwrap());
        let forged = serde_json::to_vec(&Envelope { payload, ..envelope.clone() }).unwrap();
        assert!(matches!(verify(&forged, &trust(&key)), Err(Refused::Forged)), "{pointer}");
    }
}

fn leaves(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| leaves(value, format!("{at}/{key}"), found)),
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(key, value)| leaves(value, format!("{at}/{key}"), found));
        }
        _ => found.push(at),
    }
}

#[test]
fn a_retired_key_is_believed_for_what_it_signed_before() {
    let key = PrivateKey::generate();
    let signed_at = "2026-11-21T10:15:31Z".parse().unwrap();
    let sealed = seal(&key, &about(RUN, run(key.id())));
    let trusting = |retired_at| {
        let keys = vec![PublishedKey::new(key.public(), signed_at, Some(retired_at))];
        TrustedKeys::read(&serde_json::to_string(&SigningKeys { keys }).unwrap()).unwrap()
    };
    verify(&sealed, &trusting(signed_at)).unwrap();
    let refused = verify(&sealed, &trusting(signed_at - TimeDelta::microseconds(1)));
    assert!(matches!(refused, Err(Refused::Retired { .. })), "{refused:?}");
}

#[test]
fn every_refusal_is_message_in_a_sentence() {
    let key = PrivateKey::generate();
    let sealed = seal(&key, &about(RECEIPT, receipt(key.id())));
    let message = verify(&sealed, &trust(&PrivateKey::generate())).unwrap_err().to_string();
    assert!(message.contains(key.id()) && message.contains("assize key signing export"), "{message}");
    let message = verify(b"{}", &trust(&key)).unwrap_err().to_string();
    assert!(message.contains("not a DSSE envelope") && message.contains("--format dsse"), "{message}");
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let key = PrivateKey::generate();
        prop_assert!(verify(&bytes, &trust(&key)).is_err());
        let sealed = serde_json::to_vec(&Envelope::sign(&key, &bytes)).unwrap();
        prop_assert!(verify(&sealed, &trust(&key)).is_err());
    }
}
