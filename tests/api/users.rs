//! User names that look alike count as one user, and are returned as they were sent.

use assize_domain::unicode::fold;
use sqlx::PgPool;

use crate::harness::{Server, Setup, good_form_of, json, problem};

const ALIKE: [&str; 9] = [
    "ADA lovelace",
    "  ada   lovelace ",
    "a\u{200b}da lovelace",
    "ada love\u{ad}lace",
    "ada lovelace\u{e0061}\u{e007f}",
    "ａｄａ ｌｏｖｅｌａｃｅ",
    "\u{202e}ada lovelace",
    "ada\u{2028}lovelace\u{3164}",
    "𝒂𝒅𝒂\u{a0}lovelace",
];

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn names_that_look_alike_share_one_queue(pool: PgPool) {
    let mut setup = Setup::default();
    setup.config.per_user_max_queued = 3;
    let server = Server::start_with(pool, setup).await;
    for name in ["ada lovelace", ALIKE[0], ALIKE[1]] {
        assert_eq!(server.submit(good_form_of(name)).send().await.unwrap().status(), 202);
    }
    for name in ALIKE {
        problem(server.submit(good_form_of(name)).send().await.unwrap(), 429, "user_queue_full").await;
    }
    // Another user, and another script's letter.
    for name in ["ada byron", "аda lovelace"] {
        assert_eq!(server.submit(good_form_of(name)).send().await.unwrap().status(), 202);
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_name_is_shown_as_it_was_sent(pool: PgPool) {
    let server = Server::start(pool).await;
    for name in ALIKE {
        let created = json(server.submit(good_form_of(name)).send().await.unwrap()).await;
        assert_eq!((&created["run"]["user"], &created["submission"]["user"]), (&name.into(), &name.into()));
        for what in ["run", "submission"] {
            let path = format!("/v1/{what}s/{}", created[what]["id"].as_str().unwrap());
            assert_eq!(json(server.get(&path).send().await.unwrap()).await["user"], name);
        }
        let payload = created["receipt"]["payload"].as_str().unwrap();
        let receipt = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, payload).unwrap();
        let receipt: serde_json::Value = serde_json::from_slice(&receipt).unwrap();
        assert_eq!(receipt["predicate"]["user"], name);
    }
    let listed = json(server.get("/v1/runs").send().await.unwrap()).await;
    let names: Vec<&str> =
        listed["runs"].as_array().unwrap().iter().rev().map(|run| run["user"].as_str().unwrap()).collect();
    assert_eq!(names, ALIKE);
    let counted: Vec<String> = sqlx::query_scalar("SELECT DISTINCT user_ref FROM project_evaluation_runs")
        .fetch_all(&server.pool)
        .await
        .unwrap();
    assert_eq!(counted, ["ada lovelace"]);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_name_of_which_nothing_is_seen_is_none(pool: PgPool) {
    let server = Server::start(pool).await;
    for name in [" ", "\u{200b}", "\u{3164}\u{115f}", "\u{e0041}", "\u{2800}\u{ad}"] {
        problem(server.submit(good_form_of(name)).send().await.unwrap(), 400, "bad_field").await;
        assert_eq!(fold(name), "");
    }
}
