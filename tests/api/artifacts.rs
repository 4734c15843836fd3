//! The files that a run handed out, as clients read them.

use std::sync::Arc;

use assize_domain::artifact::{Artifact, LeftOut, LeftOutArtifact, Origin, RunArtifacts};
use assize_domain::verdict::{Integrity, Visibility, from_exit_code};
use reqwest::Response;
use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::{Server, json, problem};

const PAGE: &[u8] = b"<script>alert(document.cookie)</script>";

/// The SHA-256 of [`PAGE`] does not matter here: the API serves by it and does not check it.
fn file(name: &str, origin: Origin, digit: &str, media_type: &str) -> Artifact {
    Artifact {
        name: name.to_owned(),
        origin,
        sha256: digit.repeat(64),
        bytes: PAGE.len() as u64,
        media_type: media_type.to_owned(),
        visibility: Visibility::Visible,
    }
}

/// A run that has ended and handed out these files, each with the same content.
async fn handed_out(server: &Server, files: Vec<Artifact>) -> Uuid {
    let run = server.insert_runs(1).await[0];
    let lease = server.running().await;
    let mut content = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut content, PAGE).unwrap();
    let content = Arc::new(content);
    for file in &files {
        server.store.use_artifacts(std::slice::from_ref(&file.sha256)).await.unwrap();
        server.blobs.put_artifact(&file.sha256, &content, 0, PAGE.len() as u64).await.unwrap();
    }
    server.store.parse_run(lease).await.unwrap();
    let reason = "is a symbolic link, a plain file is needed".to_owned();
    let first = vec![LeftOutArtifact { name: "workspace/link.txt".to_owned(), origin: Origin::Subject, reason }];
    let artifacts = RunArtifacts { files, left_out: LeftOut { count: 3, first } };
    let verdict = from_exit_code(0, Integrity::Isolated);
    server.store.complete_run(lease, &verdict, None, &artifacts).await.unwrap();
    run
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn the_list_names_each_file_and_where_it_is(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = handed_out(
        &server,
        vec![
            file("workspace/ä b?.html", Origin::Subject, "a", "text/html; charset=utf-8"),
            file("workspace/out/page.html", Origin::Driver, "b", "text/html; charset=utf-8"),
        ],
    )
    .await;
    let list = json(server.get(&format!("/v1/runs/{run}/artifacts")).send().await.unwrap()).await;
    let names: Vec<_> = list["artifacts"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["workspace/out/page.html", "workspace/ä b?.html"]);
    assert_eq!((&list["left_out_count"], &list["left_out"][0]["origin"]), (&3.into(), &"subject".into()));
    for artifact in list["artifacts"].as_array().unwrap() {
        let answer = server.get(artifact["url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{artifact}");
        assert_eq!(answer.bytes().await.unwrap(), PAGE);
    }
    let none = server.queued().await;
    let list = json(server.get(&format!("/v1/runs/{none}/artifacts")).send().await.unwrap()).await;
    assert_eq!(list, serde_json::json!({ "artifacts": [], "left_out": [], "left_out_count": 0 }));
}

/// A project wrote the page: no browser may run it as one of this service.
#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_file_is_an_attachment_of_its_listed_type_in_a_sandbox(pool: PgPool) {
    let server = Server::start(pool).await;
    let name = "workspace/out/ein \"Bericht\"; x=y.html";
    let files = vec![
        file(name, Origin::Subject, "a", "text/html; charset=utf-8"),
        file("workspace/picture.png", Origin::Subject, "b", "image/png"),
    ];
    let run = handed_out(&server, files).await;
    let path = format!("/v1/runs/{run}/artifacts/workspace/out/ein%20%22Bericht%22%3B%20x%3Dy.html");
    let answer = server.get(&path).send().await.unwrap();
    assert_eq!(header(&answer, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    assert_eq!(header(&answer, "content-security-policy"), "sandbox; default-src 'none'");
    assert_eq!(header(&answer, "content-length"), PAGE.len().to_string());
    let disposition = "attachment; filename*=UTF-8''ein%20%22Bericht%22%3B%20x%3Dy.html";
    assert_eq!(header(&answer, "content-disposition"), disposition);
    // What its bytes look like does not matter.
    let picture = server.get(&format!("/v1/runs/{run}/artifacts/workspace/picture.png")).send().await.unwrap();
    assert_eq!(
        (header(&picture, "content-type"), header(&picture, "x-content-type-options")),
        ("image/png", "nosniff")
    );

    let tag = header(&answer, "etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", "a".repeat(64)));
    let again = server.get(&path).header("If-None-Match", &tag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, tag.as_str()));
    assert!(again.bytes().await.unwrap().is_empty());
    let other = server.get(&path).header("If-None-Match", "\"b\"").send().await.unwrap();
    assert_eq!(other.status(), 200);
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_name_means_one_file_of_one_run_of_ones_own(pool: PgPool) {
    let server = Server::start(pool).await;
    let files = vec![
        file("workspace/a.txt", Origin::Subject, "a", "text/plain"),
        file("workspace/a.txt", Origin::Driver, "b", "text/plain"),
        file("workspace/b.txt", Origin::Subject, "c", "text/plain"),
    ];
    let run = handed_out(&server, files).await;
    let path = |rest: &str| format!("/v1/runs/{run}/artifacts/{rest}");
    for (rest, digit) in [
        ("workspace/a.txt", "b"),
        ("workspace/a.txt?origin=driver", "b"),
        ("workspace/a.txt?origin=subject", "a"),
        ("workspace%2Fb.txt", "c"),
    ] {
        let answer = server.get(&path(rest)).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "etag")),
            (200, format!("\"{}\"", digit.repeat(64)).as_str()),
            "{rest}"
        );
    }
    for rest in [
        "workspace/b.txt?origin=driver",
        "workspace/c.txt",
        "workspace",
        "%2Fworkspace%2Fa.txt",
        "workspace%2F..%2Fworkspace%2Fa.txt",
        "workspace%5Ca.txt",
        "workspace/a.txt%00",
        "workspace/a.txt%0d%0a",
        "workspace//a.txt",
        "%ff",
        &"a".repeat(600),
    ] {
        problem(server.get(&path(rest)).send().await.unwrap(), 404, "not_found").await;
    }
    problem(server.get(&path("workspace/a.txt?origin=host")).send().await.unwrap(), 400, "bad_parameter").await;
    let stranger = server.stranger().await;
    for rest in ["", "/workspace/a.txt"] {
        let url = format!("{}/v1/runs/{run}/artifacts{rest}", server.url);
        problem(server.client.get(url).bearer_auth(&stranger).send().await.unwrap(), 404, "not_found").await;
    }
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_file_whose_blob_is_gone_is_not_found(pool: PgPool) {
    let server = Server::start(pool).await;
    let run = handed_out(&server, vec![file("workspace/a.txt", Origin::Driver, "a", "text/plain")]).await;
    std::fs::remove_dir_all(server.folder().join("blobs/artifacts")).unwrap();
    let path = format!("/v1/runs/{run}/artifacts/workspace/a.txt");
    problem(server.get(&path).send().await.unwrap(), 404, "not_found").await;
}
