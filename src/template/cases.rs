//! The cases of a template: `tests/cases/<name>/{in,out,args,case.toml}`, read and checked into one suite.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use assize_protocol::cases::{Case, Compare, ExpectedFile, FILES, FOLDER, INPUT, OUTPUT, Suite, Visibility};
use assize_protocol::exec::{Call, DEFAULT_OUTPUT, MAX_OUTPUT, MAX_STDIN, check_file_path};
use serde::Deserialize;

use super::Driver;

/// Cases of one template: a report of so many has room for what each came to.
const MAX_CASES: usize = 2_000;

/// The longest name of a case, in bytes.
const MAX_NAME: usize = 100;

/// The longest `args` and `case.toml`, in bytes.
const MAX_SMALL: u64 = 32 << 10;

/// The longest `out`: what a call can give back at the most, less what a wrong program may write beyond it.
const MAX_EXPECTED: u64 = MAX_OUTPUT - (64 << 10);

/// Time limit of a case that names none, in s.
const DEFAULT_TIMEOUT_S: f64 = 5.0;

/// More is a slip.
const MAX_POINTS: f64 = 1e6;

/// `case.toml` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CaseFile {
    points: f64,
    visibility: Visibility,
    timeout_s: f64,
    memory_mib: Option<u64>,
    compare: Compare,
    command: Option<Vec<String>>,
    /// How each file that the program must write is compared with the same file below `files`.
    files: BTreeMap<String, Compare>,
}

impl Default for CaseFile {
    fn default() -> Self {
        Self {
            points: 1.0,
            visibility: Visibility::Visible,
            timeout_s: DEFAULT_TIMEOUT_S,
            memory_mib: None,
            compare: Compare::Lines,
            command: None,
            files: BTreeMap::new(),
        }
    }
}

/// Reads the cases below the folder with the tests.
///
/// # Errors
/// What is wrong with which case, the limit and the value, and what to do.
pub(super) fn load(tests: &Path, driver: &Driver) -> Result<Suite, String> {
    let folder = tests.join(FOLDER);
    let unreadable =
        |error: std::io::Error| format!("tests/{FOLDER} cannot be read: {error}; make a folder for each case in it");
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if !path.is_dir() {
            continue;
        }
        if folders.len() == MAX_CASES {
            return Err(format!(
                "tests/{FOLDER} has more than {MAX_CASES} cases, the limit; put several checks into one"
            ));
        }
        folders.push(path);
    }
    if folders.is_empty() {
        return Err(format!("tests/{FOLDER} has no case; make a folder for each case in it"));
    }
    folders.sort();
    let cases: Vec<Case> = folders.iter().map(|folder| load_case(folder, driver)).collect::<Result<_, _>>()?;
    if cases.iter().map(|case| case.points).sum::<f64>() <= 0.0 {
        return Err("all cases together have 0 points; give at least one some points".to_owned());
    }
    Ok(Suite { cases, checker: driver.checker.clone(), checker_timeout_s: driver.checker_timeout_s })
}

fn load_case(folder: &Path, driver: &Driver) -> Result<Case, String> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(format!(
            "a case has the name {:?}, it must be UTF-8 without control characters, at most {MAX_NAME} bytes; rename the folder",
            folder.file_name().unwrap_or_default()
        ));
    }
    let fault = |reason: String| format!("case {name}: {reason}");
    let file: CaseFile = match read_small(&folder.join("case.toml")).map_err(fault)? {
        Some(text) => toml::from_str(&text).map_err(|error| fault(format!("case.toml: {error}")))?,
        None => CaseFile::default(),
    };
    let files = load_files(folder, file.files).map_err(fault)?;
    let expected = length(&folder.join(OUTPUT));
    if expected.is_none() && (files.is_empty() || file.compare == Compare::Checker) {
        return Err(fault(format!("there is no file {OUTPUT} with the expected output; add one, empty if need be")));
    }
    if let Some(expected) = expected.filter(|expected| *expected > MAX_EXPECTED) {
        return Err(fault(format!("{OUTPUT} has {expected} bytes, the limit is {MAX_EXPECTED}; shorten it")));
    }
    let input = length(&folder.join(INPUT));
    if let Some(input) = input.filter(|input| *input > MAX_STDIN) {
        return Err(fault(format!("{INPUT} has {input} bytes, the limit is {MAX_STDIN}; shorten it")));
    }
    if !(0.0..=MAX_POINTS).contains(&file.points) {
        return Err(fault(format!("points is {}, it must be 0 to {MAX_POINTS}; choose another", file.points)));
    }
    check_compare(folder, &file.compare, driver).map_err(fault)?;
    let mut command = file.command.unwrap_or_else(|| driver.program.clone());
    if let Some(text) = read_small(&folder.join("args")).map_err(fault)? {
        command.extend(text.lines().map(str::to_owned));
    }
    let timeout_ms = milliseconds(file.timeout_s).ok_or_else(|| {
        fault(format!("timeout_s is {}, it must be more than 0 and at most 3600; choose another", file.timeout_s))
    })?;
    let call = Call {
        command: command.clone(),
        timeout_ms,
        memory_bytes: file.memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
        max_output: DEFAULT_OUTPUT,
        files: files.iter().map(|file| file.path.clone()).collect(),
    };
    call.check().map_err(|reason| fault(format!("{reason}, in args, in case.toml or in driver.program")))?;
    Ok(Case {
        name: name.to_owned(),
        points: file.points,
        visibility: file.visibility,
        command,
        timeout_ms,
        memory_bytes: call.memory_bytes,
        has_input: input.is_some(),
        compare: expected.map(|_| file.compare),
        files,
    })
}

/// Checks the files that the program of a case must write.
fn load_files(folder: &Path, files: BTreeMap<String, Compare>) -> Result<Vec<ExpectedFile>, String> {
    let mut all = 0;
    for (path, compare) in &files {
        check_file_path(path)?;
        if *compare == Compare::Checker {
            return Err(format!(
                "the file {path} is compared by a checker, which is for the output only; write exact, lines, tokens, float:1e-6 or regex"
            ));
        }
        let expected = folder.join(FILES).join(path);
        all += length(&expected)
            .ok_or_else(|| format!("there is no file {FILES}/{path} with what the program must write; add one"))?;
        if *compare == Compare::Regex {
            check_expression(&expected)?;
        }
    }
    if all > MAX_EXPECTED {
        return Err(format!("the files in {FILES} have {all} bytes, the limit is {MAX_EXPECTED}; shorten them"));
    }
    Ok(files.into_iter().map(|(path, compare)| ExpectedFile { path, compare }).collect())
}

fn check_compare(folder: &Path, compare: &Compare, driver: &Driver) -> Result<(), String> {
    match compare {
        Compare::Checker if driver.checker.is_empty() => {
            Err("compare is checker, and the template has none; set driver.checker to the command of one".to_owned())
        }
        Compare::Regex => check_expression(&folder.join(OUTPUT)),
        _ => Ok(()),
    }
}

fn check_expression(path: &Path) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pattern = read_small(path)?.unwrap_or_default();
    regex::bytes::Regex::new(pattern.strip_suffix('\n').unwrap_or(&pattern))
        .map(drop)
        .map_err(|error| format!("{name} is no regular expression: {error}; correct it"))
}

/// The length of a plain file.
fn length(path: &Path) -> Option<u64> {
    path.metadata().ok().filter(fs::Metadata::is_file).map(|seen| seen.len())
}

/// A short text; `None` if there is no such file.
fn read_small(path: &Path) -> Result<Option<String>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if length(path).is_none() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    file.take(MAX_SMALL + 1).read_to_end(&mut bytes).map_err(|error| format!("{name} cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_SMALL {
        return Err(format!("{name} has more than {MAX_SMALL} bytes, the limit; shorten it"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| format!("{name} is not UTF-8; save it as UTF-8"))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is between 0 and 3,600,000")]
fn milliseconds(seconds: f64) -> Option<u64> {
    (seconds > 0.0 && seconds <= 3600.0).then(|| (seconds * 1000.0).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use crate::template::{Template, TemplateError};

    const TEMPLATE: &str = r#"
        description = "d"
        class = "A"
        image = "i"
        limits = { cpus = 1.0, memory_mib = 64, pids = 16, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 }
        stages = [{ name = "build", command = ["make"], timeout_s = 1 }]
        global = { timeout_s = 10 }
        [driver]
        kind = "cases"
        image = "i"
        program = ["./main"]
        timeout_s = 10
        limits = { cpus = 1.0, memory_mib = 64, pids = 16, workspace_mib = 8, workspace_inodes = 5000, tmp_mib = 8 }
    "#;

    fn load(template: &str, files: &[(&str, &[u8])]) -> Result<Template, TemplateError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("template.toml"), template).unwrap();
        for (name, bytes) in files {
            let path = folder.path().join("tests/cases").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Template::load(folder.path())
    }

    #[test]
    fn cases_decide_what_a_verdict_is_worth() {
        let template = load(
            TEMPLATE,
            &[
                ("b/out", b"x"),
                ("b/case.toml", b"points = 2.5\nvisibility = \"hidden\""),
                ("a/out", b""),
                ("a/in", b"1"),
            ],
        )
        .unwrap();
        assert!(template.is_called());
        assert_eq!((template.results.expect_tests, template.results.max_score), (Some(2), Some(3.5)));
    }

    #[test]
    fn what_cannot_be_judged_is_refused_when_the_template_is_read() {
        let long = vec![b'x'; 20 << 20];
        let args = vec![b'x'; 40_000];
        for (files, words) in [
            (&[("a/in", &b"1"[..])][..], "case a: there is no file out"),
            (&[("a/out", b""), ("a/in", &long)], "case a: in has 20971520 bytes, the limit is 16777216"),
            (&[("a/out", &long)], "case a: out has 20971520 bytes, the limit is 8323072"),
            (&[("a/out", b""), ("a/args", b"x\0y")], "case a: word 1 of the command contains a NUL"),
            (&[("a/out", b""), ("a/args", &args)], "case a: args has more than 32768 bytes"),
            (&[("a/out", b""), ("a/args", b"\xff")], "case a: args is not UTF-8"),
            (&[("a/out", b""), ("a/case.toml", b"points = -1")], "case a: points is -1"),
            (&[("a/out", b""), ("a/case.toml", b"points = nan")], "case a: points is NaN"),
            (&[("a/out", b""), ("a/case.toml", b"points = 0")], "all cases together have 0 points"),
            (&[("a/out", b""), ("a/case.toml", b"timeout_s = 0")], "case a: timeout_s is 0"),
            (&[("a/out", b""), ("a/case.toml", b"surprise = 0")], "surprise"),
            (&[("a/out", b""), ("a/case.toml", b"command = []")], "case a: the call names no program"),
            (&[("a/out", b""), ("a/case.toml", b"compare = \"same\"")], "float:1e-6"),
            (&[("a/out", b""), ("a/case.toml", b"compare = \"checker\"")], "set driver.checker"),
            (&[("a/out", b"("), ("a/case.toml", b"compare = \"regex\"")], "out is no regular expression"),
            (&[("a/case.toml", b"files = { x = \"lines\" }")], "there is no file files/x"),
            (&[("a/files/x", b""), ("a/case.toml", b"files = { x = \"checker\" }")], "for the output only"),
            (&[("a/files/x", b"("), ("a/case.toml", b"files = { x = \"regex\" }")], "x is no regular expression"),
            (
                &[("a/out", b""), ("x", b""), ("a/case.toml", b"files = { \"../../x\" = \"lines\" }")],
                "below the working folder",
            ),
            (&[("file", b"")], "tests/cases has no case"),
            (&[], "tests/cases cannot be read"),
        ] {
            let error = load(TEMPLATE, files).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn there_are_no_more_cases_than_a_report_has_room_for() {
        let names: Vec<String> = (0..2001).map(|number| format!("{number}/out")).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        let error = load(TEMPLATE, &files).unwrap_err().to_string();
        assert!(error.contains("more than 2000 cases, the limit"), "{error}");
    }

    #[test]
    fn a_template_with_cases_leaves_to_them_what_they_decide() {
        let case: &[(&str, &[u8])] = &[("a/out", b"")];
        for (from, to, words) in [
            ("kind = \"cases\"", "kind = \"cases\"\ncommand = [\"x\"]", "driver.command has no meaning"),
            (
                "kind = \"cases\"",
                "kind = \"cases\"\nchecker = [\"x\"]\nchecker_timeout_s = 0",
                "checker_timeout_s is 0",
            ),
            ("kind = \"cases\"", "subject = \"exec\"\ncommand = [\"x\"]", "driver.program has no meaning"),
            ("[driver]", "results = { format = \"tap\", path = \"/a\" }\n[driver]", "results has no meaning"),
        ] {
            let error = load(&TEMPLATE.replace(from, to), case).unwrap_err().to_string();
            assert!(error.contains(words), "{to}: {error}");
        }
        let without = TEMPLATE.replace("program = [\"./main\"]", "");
        assert!(load(&without, case).unwrap_err().to_string().contains("names no program"));
        assert!(load(&without, &[("a/out", b""), ("a/case.toml", b"command = [\"./main\"]")]).is_ok());
    }
}
