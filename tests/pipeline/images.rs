//! What the check of a template asks the container engine.

use std::path::Path;

use serde_json::Value;

use crate::harness::processes::assize;

/// The keys and messages of the errors of a template.
fn errors(folder: &Path) -> Vec<(String, String)> {
    let checked = assize(&[]).args(["template", "check", "--json"]).arg(folder).output().unwrap();
    let document: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let complaints = document["complaints"].as_array().unwrap().iter();
    let errors = complaints.filter(|complaint| complaint["severity"] == "error");
    let text = |complaint: &Value, field: &str| complaint[field].as_str().unwrap().to_owned();
    errors.map(|complaint| (text(complaint, "key"), text(complaint, "message"))).collect()
}

#[test]
fn an_image_without_the_program_of_a_stage_is_an_error_of_the_template() {
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("mine");
    let made = assize(&[]).args(["template", "new", "--from", "python-unit"]).arg(&template).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(errors(&template), []);
    let file = template.join("template.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text.replacen("\"python3\"", "\"python9\"", 1).replacen("\"python3\"", "\"/opt/python3\"", 1);
    std::fs::write(&file, changed).unwrap();
    let error = |stage: &str, program: &str| {
        let message = format!("the image assize/python-unit:1 has no program {program}");
        (format!("stages.{stage}.command"), message)
    };
    assert_eq!(errors(&template), [error("build", "python9"), error("tests", "/opt/python3")]);
}
