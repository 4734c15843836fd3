//! `assize verify` as a user meets it: what it says of good and bad statements, and its exit codes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use assize_signing::readiness::{PROGRAM, ReadinessCondition, ReadinessStatement};
use assize_signing::statement::{InToto, Material, READINESS, RECEIPT, Receipt};
use assize_signing::{Envelope, PrivateKey, envelope};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Printed, assize, printed, run, text};

/// A receipt for an archive, with the key that signed it beside it.
struct Signed {
    folder: tempfile::TempDir,
}

impl Signed {
    fn new(user: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signed = Self { folder };
        let archive = b"PK a project";
        signed.write("project.zip", archive);
        let key = PrivateKey::generate();
        signed.write("public.pem", key.public().to_pem().as_bytes());
        signed.write("other.pem", PrivateKey::generate().public().to_pem().as_bytes());
        let receipt = Receipt {
            submission_id: Uuid::nil(),
            run_id: Uuid::nil(),
            organization_id: Uuid::nil(),
            user: user.to_owned(),
            template: "trivial".to_owned(),
            archive_bytes: 12,
            received_at: "2026-11-21T10:15:30Z".parse().unwrap(),
            source: None,
            key_id: key.id().to_owned(),
        };
        let sha256: String = Sha256::digest(archive).iter().map(|byte| format!("{byte:02x}")).collect();
        let statement = InToto::about(Uuid::nil(), &sha256, RECEIPT, receipt);
        let envelope = Envelope::sign(&key, &serde_json::to_vec(&statement).unwrap());
        signed.write("receipt.json", &serde_json::to_vec(&envelope).unwrap());
        signed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn verify(&self, file: &str, more: &[&str]) -> Printed {
        let path = self.path(file);
        let mut arguments = vec!["verify", text(&path)];
        arguments.extend(more);
        run(&arguments)
    }

    fn key(&self, name: &str) -> String {
        text(Path::new(&self.path(name))).to_owned()
    }
}

#[test]
fn a_receipt_is_verified_and_told() {
    let signed = Signed::new("ada");
    let (key, archive) = (signed.key("public.pem"), signed.key("project.zip"));
    let said = signed.verify("receipt.json", &["--key", &key, "--archive", &archive]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    for told in ["VERIFIED\n", "(the given file matches)", "2026-11-21 10:15:30.000000 UTC", "ada", "12 bytes"] {
        assert!(said.out.contains(told), "{told}: {}", said.out);
    }
    let said = signed.verify("receipt.json", &["--keys", &key, "--json"]);
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &document["verified"], &document["archive_checked"]), (0, &true.into(), &false.into()));
    assert_eq!(document["statement"]["predicate"]["user"], "ada");
}

#[test]
fn a_receipt_comes_through_stdin_too() {
    let signed = Signed::new("ada");
    let mut child = assize(&["verify", "-", "--key", &signed.key("public.pem")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(signed.path("receipt.json")).unwrap()).unwrap();
    assert_eq!(printed(child.wait_with_output().unwrap()).code, 0);
}

#[test]
fn what_is_not_to_be_believed_is_1_and_says_why() {
    let signed = Signed::new("ada");
    let receipt = std::fs::read(signed.path("receipt.json")).unwrap();
    signed.write("cut.json", &receipt[..receipt.len() - 9]);
    signed.write("large.json", &vec![b' '; envelope::MAX_BYTES + 1]);
    signed.write("empty.json", b"");
    signed.write("forged.json", String::from_utf8(receipt).unwrap().replace("sig\":\"", "sig\":\"AAAA").as_bytes());
    let (good, other) = (signed.key("public.pem"), signed.key("other.pem"));
    let wrong_archive = ["--key", &good, "--archive", &other];
    let cases: [(&str, &[&str], &str); 6] = [
        ("receipt.json", &["--key", &other], "no signature is by one of the 1 keys"),
        ("receipt.json", &wrong_archive, "the archive does not match"),
        ("cut.json", &["--key", &good], "not a DSSE envelope"),
        ("large.json", &["--key", &good], "the limit is 16777216"),
        ("empty.json", &["--key", &good], "not a DSSE envelope"),
        ("forged.json", &["--key", &good], "signature"),
    ];
    for (file, arguments, why) in cases {
        let said = signed.verify(file, arguments);
        assert_eq!(said.code, 1, "{file} {arguments:?}: {} {}", said.out, said.err);
        assert!(said.out.contains("NOT VERIFIED") && said.out.contains(why), "{file}: {}", said.out);
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let said = signed.verify(file, &arguments);
        let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((said.code, &document["verified"]), (1, &false.into()));
        assert!(document["reason"].as_str().unwrap().contains(why), "{document}");
    }
}

#[test]
fn wrong_usage_is_2() {
    let signed = Signed::new("ada");
    let (good, archive) = (signed.key("public.pem"), signed.key("project.zip"));
    let cases: [(&str, &[&str], &str); 6] = [
        ("receipt.json", &[], "--key"),
        ("nowhere.json", &["--key", &good], "cannot read"),
        ("receipt.json", &["--key", "nonsense"], "neither a file nor a public key"),
        ("receipt.json", &["--keys", &archive], "the keys in"),
        ("receipt.json", &["--keys", "/nonexistent"], "cannot read /nonexistent"),
        ("receipt.json", &["--key", &good, "--archive", "/nonexistent"], "cannot read /nonexistent"),
    ];
    for (file, arguments, why) in cases {
        let said = signed.verify(file, arguments);
        assert_eq!(said.code, 2, "{file} {arguments:?}: {} {}", said.out, said.err);
        assert!(said.err.contains(why), "{why}: {}", said.err);
        assert!(!said.out.contains("VERIFIED"), "{}", said.out);
    }
}

#[test]
fn what_was_signed_cannot_drive_the_terminal() {
    let signed = Signed::new("\u{1b}]0;owned\u{7}\u{202e}ada");
    let said = signed.verify("receipt.json", &["--key", &signed.key("public.pem")]);
    assert_eq!(said.code, 0);
    assert!(!said.out.contains('\u{1b}') && !said.out.contains('\u{202e}'), "{:?}", said.out);
}

#[test]
fn a_readiness_report_is_verified_with_its_files() {
    let signed = Signed::new("ada");
    let key = PrivateKey::generate();
    let sha256 = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let condition = ReadinessCondition {
        name: "books".to_owned(),
        claim: "every run ends once".to_owned(),
        method: "compared".to_owned(),
        outcome: "passed".to_owned(),
        checks: serde_json::json!([]),
    };
    let statement = ReadinessStatement {
        ready: false,
        begun_at: "2026-11-21T10:15:30Z".parse().unwrap(),
        ended_at: "2026-11-21T12:15:30Z".parse().unwrap(),
        signed_at: "2026-11-21T12:20:30Z".parse().unwrap(),
        commit: "c0ffee".to_owned(),
        programs: Vec::new(),
        host: serde_json::json!({}),
        settings: serde_json::json!({}),
        clocks: serde_json::json!({}),
        thresholds: Material::new("thresholds.toml", &sha256(b"")),
        conditions: vec![condition],
        planted: serde_json::json!([]),
        files: vec![Material::new("samples.ndjson", &sha256(b"{}"))],
        notes: Vec::new(),
        key_id: key.id().to_owned(),
    };
    let statement = InToto::new(Material::new(PROGRAM, &sha256(b"a program")), READINESS, statement);
    let envelope = Envelope::sign(&key, &serde_json::to_vec(&statement).unwrap());
    signed.write("readiness.json", &serde_json::to_vec(&envelope).unwrap());
    signed.write("gate.pem", key.public().to_pem().as_bytes());
    signed.write("assize", b"a program");
    signed.write("samples.ndjson", b"{}");
    let (key, program, folder) = (signed.key("gate.pem"), signed.key("assize"), signed.key(""));
    let more = ["--key", key.as_str(), "--archive", program.as_str(), "--artifacts", folder.as_str()];
    let printed = signed.verify("readiness.json", &more);
    assert_eq!((printed.code, printed.err.as_str()), (0, ""), "{}", printed.out);
    for part in ["VERIFIED\n", "program", "ready        no", "books: passed (every run ends once)", "c0ffee"] {
        assert!(printed.out.contains(part), "{part}: {}", printed.out);
    }
    signed.write("samples.ndjson", b"{ }");
    let printed = signed.verify("readiness.json", &more);
    assert_eq!(printed.code, 1);
    assert!(printed.out.contains("samples.ndjson does not match"), "{}", printed.out);
}
