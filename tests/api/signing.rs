//! Receipts, signed statements of how runs ended, and the keys that verify them.

use assize_signing::statement::RECEIPT;
use assize_signing::{Envelope, PrivateKey, Receipt, Statement, TrustedKeys, Verified, key_file, verify};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;

use crate::harness::{Server, good_form, id_of, json, logs, problem, zips};

async fn keys(server: &Server) -> TrustedKeys {
    let answer = server.get("/v1/signing-keys").send().await.unwrap();
    TrustedKeys::read(&answer.text().await.unwrap()).unwrap()
}

async fn post(server: &Server, key: &str) -> Value {
    json(server.submit(good_form()).header("idempotency-key", key).send().await.unwrap()).await
}

fn checked(receipt: &Value, keys: &TrustedKeys) -> (Verified, Receipt) {
    let verified = verify(receipt.to_string().as_bytes(), keys).unwrap();
    let Statement::Receipt(receipt) = verified.statement.clone() else { panic!("{receipt}") };
    (verified, *receipt)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A new key in the place of the old one, as `assize key signing rotate` does it.
async fn rotate(server: &Server) -> PrivateKey {
    let key = PrivateKey::generate();
    server.store.ensure_signing_key(key.public()).await.unwrap();
    key_file::replace(&server.folder().join("signing.key"), &key).unwrap();
    key
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_submission_is_answered_with_a_receipt_that_verifies(pool: PgPool) {
    let server = Server::start(pool).await;
    let before = server.store.now().await.unwrap();
    let answer = post(&server, "k-1").await;
    let (verified, receipt) = checked(&answer["receipt"], &keys(&server).await);
    verified.check_archive(&sha256(&zips::good())).unwrap();
    assert!(verified.check_archive(&sha256(&zips::other())).is_err());
    assert_eq!((receipt.submission_id, receipt.run_id), (id_of(&answer["submission"]), id_of(&answer["run"])));
    assert_eq!(
        (receipt.organization_id, receipt.user.as_str(), receipt.template.as_str()),
        (server.organization, "ada", "unit")
    );
    assert_eq!(u64::try_from(receipt.archive_bytes).unwrap(), zips::good().len() as u64);
    assert_eq!(verified.signed["predicateType"], RECEIPT);
    // By the clock of the database, after the request and before the row.
    let submitted_at: DateTime<Utc> = answer["submission"]["submitted_at"].as_str().unwrap().parse().unwrap();
    let order = before <= receipt.received_at && receipt.received_at <= submitted_at + TimeDelta::milliseconds(50);
    assert!(order, "{before} {} {submitted_at}", receipt.received_at);

    let path = format!("/v1/submissions/{}", receipt.submission_id);
    assert_eq!(json(server.get(&path).send().await.unwrap()).await["receipt"], answer["receipt"]);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_repeat_gives_the_same_receipt_whatever_key_signs_by_now(pool: PgPool) {
    let server = Server::start(pool).await;
    let first = post(&server, "k-1").await;
    let new = rotate(&server).await;
    let again = post(&server, "k-1").await;
    assert_eq!(again["receipt"], first["receipt"]);
    let other = post(&server, "k-2").await;
    let keys = keys(&server).await;
    assert_ne!(checked(&first["receipt"], &keys).0.key_id, new.id());
    assert_eq!(checked(&other["receipt"], &keys).0.key_id, new.id());
    // The keys from before the rotation do not know the new one.
    let only_new = TrustedKeys::read(&new.public().to_pem()).unwrap();
    assert!(verify(first["receipt"].to_string().as_bytes(), &only_new).is_err());
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn whoever_changes_the_tables_gets_no_new_receipt(pool: PgPool) {
    let server = Server::start(pool).await;
    let first = post(&server, "k-1").await;
    sqlx::query(
        "UPDATE project_submissions SET archive_sha256 = repeat('b', 64), submitted_at = now() - interval '1 day'",
    )
    .execute(&server.pool)
    .await
    .unwrap();
    let again = post(&server, "k-1").await;
    assert_eq!(again["receipt"], first["receipt"]);
    assert_ne!(again["submission"]["archive_sha256"], first["submission"]["archive_sha256"]);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_signed_end_of_a_run_is_given_as_it_was_stored(pool: PgPool) {
    let server = Server::start(pool).await;
    let runs = server.insert_runs(2).await;
    let get = |run: uuid::Uuid| server.get(&format!("/v1/runs/{run}/verdict?format=dsse")).send();
    problem(get(runs[0]).await.unwrap(), 409, "no_verdict").await;
    let lease = server.running().await;
    let envelope = Envelope::sign(&PrivateKey::generate(), b"{}");
    server.store.parse_run(lease).await.unwrap();
    let verdict = assize_domain::verdict::from_exit_code(0, assize_domain::verdict::Integrity::Shared);
    server
        .store
        .complete_run(lease, &verdict, Some(&envelope), &assize_domain::artifact::RunArtifacts::default())
        .await
        .unwrap();
    let answer = get(runs[0]).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/vnd.dsse.envelope.v1+json");
    assert_eq!(answer.bytes().await.unwrap(), serde_json::to_vec(&envelope).unwrap());

    let lease = server.running().await;
    server.complete(lease).await;
    problem(get(runs[1]).await.unwrap(), 409, "not_signed").await;
    let stranger = server.stranger().await;
    let path = format!("{}/v1/runs/{}/verdict?format=dsse", server.url, runs[0]);
    problem(server.client.get(path).bearer_auth(stranger).send().await.unwrap(), 404, "not_found").await;
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn retired_keys_stay_listed(pool: PgPool) {
    let server = Server::start(pool).await;
    let first = post(&server, "k-1").await;
    rotate(&server).await;
    let old = checked(&first["receipt"], &keys(&server).await).0.key_id;
    assert!(server.store.retire_signing_key(&old).await.unwrap());
    assert!(!server.store.retire_signing_key(&old).await.unwrap(), "it is retired once");
    let listed = json(server.get("/v1/signing-keys").send().await.unwrap()).await;
    let listed = listed["keys"].as_array().unwrap();
    assert_eq!(
        (listed.len(), listed[0]["id"].as_str(), listed[0]["algorithm"].as_str()),
        (2, Some(&*old), Some("ed25519"))
    );
    assert!(listed[0]["retired_at"].is_string() && listed[1]["retired_at"].is_null(), "{listed:?}");
    // What it had signed before is still believed.
    checked(&first["receipt"], &keys(&server).await);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_private_key_reaches_no_log_no_answer_and_no_table(pool: PgPool) {
    let server = Server::start(pool).await;
    let mut answers = post(&server, "k-1").await.to_string();
    let path = server.folder().join("signing.key");
    let pem = std::fs::read_to_string(&path).unwrap();
    let base64 = pem.lines().nth(1).unwrap().to_owned();
    let seed = STANDARD.decode(&base64).unwrap()[16..].to_vec();
    // The error for a file that cannot be read does not contain the file.
    std::fs::write(&path, pem.replace("PRIVATE KEY", "PRIVATE KEYS")).unwrap();
    for path in ["/v1/signing-keys", "/v1/runs", "/v1/openapi.json"] {
        answers.push_str(&server.get(path).send().await.unwrap().text().await.unwrap());
    }
    answers.push_str(&post(&server, "k-2").await.to_string());
    assert!(logs::text().contains("the signing key cannot be read"), "the logs are not being gathered");
    let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let secrets =
        [base64[22..].to_owned(), STANDARD.encode(&seed), URL_SAFE_NO_PAD.encode(&seed), hex, format!("{seed:?}")];
    let mut places = vec![("answers".to_owned(), answers), ("logs".to_owned(), logs::text())];
    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&server.pool)
        .await
        .unwrap();
    for table in tables {
        let query = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} AS t");
        places.push((table, sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&server.pool).await.unwrap()));
    }
    for (place, text) in &places {
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{place}");
    }
}
