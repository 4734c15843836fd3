//! `assize inspect`, which needs no service.

use serde_json::{Value, json};

use crate::run;

fn case(name: &str) -> String {
    format!("{}/crates/archive/tests/data/cases/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn template(name: &str) -> String {
    format!("{}/templates/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn an_archive_that_would_be_accepted_is_told_in_full() {
    let printed = run(&["inspect", "archive", &case("01-finder-folder/hw3.zip")]);
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    let expected = [
        "accepted",
        "project    2 files, 53 B",
        "archive    6 entries, 1.0 KiB",
        "top        hw3/ became the top of the project",
        "ignored    __MACOSX/ (2), .DS_Store (1)",
        "           __MACOSX/hw3/._app.py (ignored)",
        "           hw3/.DS_Store (ignored)",
        "           __MACOSX/hw3/._.DS_Store (ignored)",
    ];
    assert_eq!(printed.out.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_template_has_rules_of_its_own() {
    let archive = case("03-node-modules-bin-links/zip-y.zip");
    let contents = |arguments: &[&str]| {
        let printed = run(&[&["inspect", "archive", &archive, "--json"], arguments].concat());
        assert_eq!(printed.code, 0, "{}", printed.err);
        let document: Value = serde_json::from_str(&printed.out).unwrap();
        (document["files"].clone(), document["contents"].clone())
    };
    let (files, default) = contents(&[]);
    assert_eq!((files, &default["ignored"][0]["pattern"]), (json!(3), &json!("node_modules/")));
    for named in [template("node-api"), template("node-api/template.toml")] {
        let (files, own) = contents(&["--template", &named]);
        assert_eq!((files, &own["links_as_files"], &own["ignored"]), (json!(15), &json!(1), &json!([])));
    }
}

#[test]
fn an_archive_that_would_be_refused_is_refused_with_advice() {
    let printed = run(&["inspect", "archive", &case("22-tar-gz/renamed.zip")]);
    assert_eq!((printed.code, printed.err.as_str()), (1, ""));
    let lines: Vec<&str> = printed.out.lines().collect();
    assert_eq!(lines[0], "refused: archive_not_a_zip");
    assert!(
        lines[1].starts_with("reason     the upload of 21055 bytes is a gzip file, such as a .tar.gz,"),
        "{lines:?}"
    );
    assert!(lines[2].starts_with("advice     pack the project's folder into a .zip"), "{lines:?}");
    let printed = run(&["inspect", "archive", &case("22-tar-gz/hw3.7z"), "--json"]);
    let document: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(
        (printed.code, &document["accepted"], &document["code"]),
        (1, &json!(false), &json!("archive_not_a_zip"))
    );
    assert!(document["advice"].as_str().is_some_and(|advice| advice.contains("zip -r project.zip FOLDER")));
}

#[test]
fn what_cannot_be_read_is_wrong_usage() {
    for (arguments, words) in [
        (&["inspect", "archive", "/nonexistent.zip"][..], "cannot read /nonexistent.zip"),
        (&["inspect", "archive", "/"], "it is not a file"),
        (&["inspect", "archive"], "required"),
        (&["inspect", "archive", &case("02-finder-files/Archive.zip"), "-t", "/nonexistent"], "there is no template"),
        (
            &["inspect", "archive", &case("02-finder-files/Archive.zip"), "-t", "/tmp"],
            "there is no template.toml in /tmp",
        ),
    ] {
        let printed = run(arguments);
        assert!(printed.code == 2 && printed.err.contains(words), "{arguments:?}: {} {}", printed.code, printed.err);
    }
}
