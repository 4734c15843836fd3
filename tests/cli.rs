//! The command line as a user meets it: the real binary, its words and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod fake;
#[path = "cli/inspect.rs"]
mod inspect;
#[path = "cli/inspect_report.rs"]
mod inspect_report;
#[path = "cli/template.rs"]
mod template;
#[path = "cli/verify.rs"]
mod verify;

use std::path::Path;
use std::process::{Command, Output};

use fake::{Fake, Script};

fn assize(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assize"));
    command.args(arguments).current_dir(std::env::temp_dir()).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ASSIZE_") {
            command.env_remove(name);
        }
    }
    command
}

struct Printed {
    code: i32,
    out: String,
    err: String,
}

fn printed(output: Output) -> Printed {
    Printed {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(arguments: &[&str]) -> Printed {
    printed(assize(arguments).output().unwrap())
}

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn help_tells_the_exit_codes() {
    let said = run(&["--help"]);
    assert_eq!(said.code, 0);
    for code in 0..=6 {
        assert!(said.out.contains(&format!("\n  {code}  ")), "{code}: {}", said.out);
    }
}

#[test]
fn every_command_has_examples() {
    let help = run(&["--help"]).out;
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let said = run(&[name, "--help"]);
        assert_eq!(said.code, 0, "{name}");
        assert!(said.out.contains("EXAMPLES:\n  "), "{name} has no examples");
    }
}

#[test]
fn an_unknown_flag_is_wrong_usage() {
    let said = run(&["submit", "--no-such-flag"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("--no-such-flag"), "{}", said.err);
    assert_eq!(run(&["no-such-command"]).code, 2);
    assert_eq!(run(&[]).code, 2);
}

#[test]
fn an_unknown_setting_is_named() {
    let folder = project(&[("assize.toml", "worker_slot = 3\n")]);
    let said = run(&["--config", text(&folder.path().join("assize.toml")), "migrate"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("unknown setting worker_slot"), "{}", said.err);
    assert!(said.err.contains("did you mean worker_slots?"), "{}", said.err);
}

#[test]
fn broken_settings_are_a_finding_of_the_doctor() {
    let folder = project(&[("assize.toml", "worker_slot = 3\n")]);
    let said = run(&["doctor", "--json", "--config", text(&folder.path().join("assize.toml"))]);
    assert_eq!(said.code, 5);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["checks"][0]["level"], "fail");
    assert_eq!(report["checks"][0]["what"], "settings");
}

#[test]
fn a_service_that_is_away_is_a_fault_of_the_infrastructure() {
    let said = run(&["runs", "--url", "http://127.0.0.1:1", "--key", "k"]);
    assert_eq!(said.code, 5);
    assert!(said.err.contains("assize does not answer at http://127.0.0.1:1"), "{}", said.err);
    assert!(said.err.contains("assize up"), "{}", said.err);
    assert_eq!(said.out, "");
}

#[test]
fn a_database_that_is_away_ends_the_api() {
    let mut command = assize(&["api"]);
    command.env("ASSIZE_DATABASE_URL", "postgres://assize@127.0.0.1:1/assize").env("ASSIZE_DATABASE_WAIT_S", "0");
    command.env("ASSIZE_API_LISTEN", "127.0.0.1:0").env("ASSIZE_API_METRICS_LISTEN", "127.0.0.1:0");
    let said = printed(command.output().unwrap());
    assert_eq!(said.code, 5);
    assert!(said.err.contains("Postgres did not answer"), "{}", said.err);
    assert!(said.err.contains("database_url"), "{}", said.err);
}

#[test]
fn without_a_key_one_is_told_how_to_get_one() {
    let folder = project(&[]);
    let said = printed(assize(&["runs"]).current_dir(folder.path()).output().unwrap());
    assert_eq!(said.code, 2);
    assert!(said.err.contains("assize key create") && said.err.contains("ASSIZE_KEY"), "{}", said.err);
}

#[test]
fn an_empty_folder_is_not_submitted() {
    let folder = project(&[]);
    let fake = Fake::start(Script::passing());
    let said = run(&["submit", text(folder.path()), "--template", "t", "--key", "k", "--url", fake.url()]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("there is no file to submit"), "{}", said.err);
}

#[test]
fn metadata_must_be_an_object() {
    let folder = project(&[("a", "1")]);
    for wrong in ["[1]", "{"] {
        let said = run(&["submit", text(folder.path()), "-t", "t", "--key", "k", "--metadata", wrong]);
        assert_eq!(said.code, 2, "{}", said.err);
        assert!(said.err.contains("--metadata"), "{}", said.err);
    }
}

fn submit(fake: &Fake, more: &[&str]) -> Printed {
    let folder = project(&[
        ("run.sh", "true\n"),
        (".gitignore", "secret\n"),
        ("secret", "x"),
        ("a.tmp", "x"),
        ("node_modules/x.js", "x"),
    ]);
    let mut arguments = vec!["submit", text(folder.path()), "-t", "trivial", "-u", "alice", "--key", "k"];
    arguments.extend(["--url", fake.url()]);
    arguments.extend(more);
    run(&arguments)
}

#[test]
fn a_submission_is_packed_sent_and_told() {
    let fake = Fake::start(Script::passing());
    let said = submit(&fake, &[]);
    assert_eq!(
        (said.code, said.err.as_str()),
        (0, "warning: a.tmp left out, as the template ignores it; --all packs it\n")
    );
    assert!(said.out.contains(&format!("assize watch {}", fake.run_id())), "{}", said.out);
    let handed_in = fake.handed_in();
    assert_eq!(
        handed_in.fields,
        [("template".to_owned(), "trivial".to_owned()), ("user".to_owned(), "alice".to_owned())]
    );
    assert_eq!(handed_in.files, [".gitignore", "node_modules/x.js", "run.sh"]);
    assert_eq!(handed_in.authorization, "Bearer k");
}

#[test]
fn a_watched_run_tells_its_phases_its_output_and_its_verdict() {
    let fake = Fake::start(Script::passing());
    let said = submit(&fake, &["--watch"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let mut rest = said.out.as_str();
    let told = [
        "0.00 s  queued",
        "0.21 s  preparing",
        "running: tests",
        "tests  | hello",
        "test  failed   adds\\u{9b}1m",
        "tests  | half a line",
        "parsing",
        "completed",
        "adds",
        "1 of 1 points",
        "integrity: isolated",
    ];
    for told in told {
        let at = rest.find(told).unwrap_or_else(|| panic!("{told:?} is missing or out of order in:\n{}", said.out));
        rest = &rest[at + told.len()..];
    }
    assert!(!said.out.contains('\u{1b}'), "escapes reached the screen: {:?}", said.out);
}

#[test]
fn a_cut_connection_is_resumed_without_a_loss_and_without_a_repeat() {
    let fake = Fake::start(Script { cut_after: Some(4), ..Script::passing() });
    let said = submit(&fake, &["--watch"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.out.matches("| hello").count(), 1, "{}", said.out);
    assert_eq!(said.out.matches("half a line").count(), 1, "{}", said.out);
    assert_eq!(said.out.matches("preparing").count(), 1, "{}", said.out);
    assert_eq!(fake.last_event_ids(), [None, Some("1-1".to_owned())]);
}

#[test]
fn with_json_stdout_is_one_document() {
    let fake = Fake::start(Script::passing());
    let watched = submit(&fake, &["--watch", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&watched.out).unwrap();
    assert_eq!(document["status"], "completed");
    assert_eq!(document["verdict"]["score"], 1.0);
    assert!(watched.err.contains("preparing"), "{}", watched.err);
    let test: serde_json::Value =
        watched.err.lines().find_map(|line| serde_json::from_str(line.strip_prefix('{').map(|_| line)?).ok()).unwrap();
    assert_eq!((&test["test"], &test["status"]), (&"adds\u{9b}1m".into(), &"failed".into()));
    let sent = submit(&fake, &["--json"]);
    let document: serde_json::Value = serde_json::from_str(&sent.out).unwrap();
    assert_eq!(document["run"]["id"], fake.run_id());
}

#[test]
fn the_exit_code_says_whose_fault_it_was() {
    for (code, cause, status, exit) in [
        ("build_failed", "submission", "failed", 3),
        ("tests_interrupted", "submission", "failed", 3),
        ("report_spoiled", "submission", "failed", 3),
        ("results_missing", "grader", "failed", 4),
        ("worker_lost", "infrastructure", "failed", 5),
        ("cancelled", "platform", "aborted", 6),
    ] {
        let fake = Fake::start(Script::failing(status, code, cause));
        let said = submit(&fake, &["--watch"]);
        assert_eq!(said.code, exit, "{code}: {}", said.out);
        assert!(said.out.contains(code) && said.out.contains("what was seen"), "{}", said.out);
        let later = run(&["status", fake.run_id(), "--url", fake.url(), "--key", "k"]);
        assert_eq!(later.code, exit, "{}", later.err);
    }
    let fake = Fake::start(Script { score: 0.0, ..Script::passing() });
    assert_eq!(submit(&fake, &["--watch"]).code, 1);
}

#[test]
fn a_refusal_is_told_in_sentences() {
    let fake = Fake::start(Script::passing());
    let said = run(&["status", "01936f2e-7c1a-7000-8000-0000000000ff", "--url", fake.url(), "--key", "k"]);
    assert_eq!(said.code, 2);
    assert_eq!(said.err, "error: there is no such run\nhelp: look at the list\n");
}

#[test]
fn a_repository_is_sent_as_its_address() {
    let fake = Fake::start(Script::passing());
    let address = "https://git.example.org/ada/notes";
    let fixed = ["submit", "-t", "trivial", "-u", "alice", "--key", "k", "--url", fake.url(), "--repository", address];
    let said = run(&[&fixed[..], &["--ref", "v1.0"]].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let sent = fake.handed_in();
    let fields: Vec<_> = sent.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(fields, [("template", "trivial"), ("user", "alice"), ("repository_url", address), ("ref", "v1.0")]);
    assert!(sent.files.is_empty(), "{:?}", sent.files);
    assert_eq!(run(&fixed).code, 0);
    assert_eq!(fake.handed_in().fields.len(), 3, "the default branch is the service's to know");
    for wrong in [&[&fixed[..], &["."]].concat()[..], &["submit", "-t", "t", "--ref", "v1"], &["submit", "-t", "t"]] {
        assert_eq!(run(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn settings_are_checked_without_a_service() {
    let folder = project(&[("assize.toml", "worker_slots = 3\n"), ("assize.d/0.0.1.toml", "no_such_setting = 1\n")]);
    let file = folder.path().join("assize.toml");
    let said = run(&["config", "check", "--config", text(&file)]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, format!("the settings are right; they come from {}\n", file.display()));

    let own = folder.path().join(concat!("assize.d/", env!("CARGO_PKG_VERSION"), ".toml"));
    std::fs::write(&own, "no_such_setting = 1\n").unwrap();
    let said = run(&["config", "check", "--json", "--config", text(&file)]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains(&format!("unknown setting no_such_setting in {}", own.display())), "{}", said.err);
}

#[test]
fn a_credential_of_the_service_manager_is_a_source_of_settings() {
    let folder = project(&[("database_url", "postgres://u:hunter2@h/d\n")]);
    let output = assize(&["config", "check", "--json"]).env("CREDENTIALS_DIRECTORY", folder.path()).output().unwrap();
    let said = printed(output);
    assert_eq!(said.code, 0, "{}", said.err);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["sources"][1], "credential database_url");
    assert!(!said.out.contains("hunter2"));
}
