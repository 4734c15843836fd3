//! A template that takes less than the installation does: see `STRICT` in `templates.rs`.

use reqwest::multipart::Form;
use serde_json::json;

use crate::harness::{json, zip_part, zips};
use crate::site::shared;

#[tokio::test]
async fn a_template_takes_what_it_says_and_refuses_the_rest_by_name_limit_and_value() {
    let site = shared();
    let elf = b"\x7fELF\x02\x01\x01".as_slice();
    let many: Vec<String> = (0..21).map(|number| format!("{number}.txt")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), b"x".as_slice())).collect();
    let run = ("run.sh", b"true".as_slice());
    for (archive, status, code, entry, limit, seen) in [
        (zips::zip(&many), 422, "archive_too_many_entries", None, Some(20), Some(21)),
        (zips::stored("a.bin", 60_000), 422, "archive_unpacked_too_large", None, Some(50_000), Some(60_000)),
        (zips::stored("a.bin", 100_000), 413, "archive_too_large", None, Some(100_000), None),
        (zips::zip(&[("a/b/c/d/e.txt", b"")]), 422, "archive_too_deep", Some("a/b/c/d/e.txt"), Some(4), Some(5)),
        (zips::zip(&[run, ("main.py", b"")]), 422, "archive_type_not_allowed", Some("main.py"), None, None),
        (zips::zip(&[run, ("my.secret.txt", b"")]), 422, "archive_type_denied", Some("my.secret.txt"), None, None),
        (zips::plain("notes.txt", elf), 422, "archive_content_denied", Some("notes.txt"), None, None),
        (zips::outside(), 422, "archive_path_outside", Some("../evil"), None, None),
    ] {
        let form = Form::new().text("template", "strict").text("user", "ada").part("archive", zip_part(archive));
        let response = site.post("/v1/submissions").multipart(form).send().await.unwrap();
        let answered = response.status();
        let body = json(response).await;
        assert_eq!((answered.as_u16(), &body["code"]), (status, &json!(code)), "{body}");
        assert_eq!(body["entry"], json!(entry), "{body}");
        assert_eq!(body["limit"], json!(limit), "{body}");
        assert!(seen.is_none() || body["seen"] == json!(seen), "{body}");
        assert_eq!(body["type"], format!("urn:assize:problem:{code}"), "{body}");
    }
    // A script is a text here, and a name without an end can be allowed as a whole.
    let run = site.run("strict", &[("run.sh", "exit 0"), ("Makefile", "all:\n"), ("a/b.txt", "#!/bin/sh\n")]).await;
    assert_eq!(run["score"], 1.0, "{run}");
}
