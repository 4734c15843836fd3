//! `assize verify`: checks the signature and the content of a receipt or a verdict, offline.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use assize_protocol::artifacts::name_problem;
use assize_protocol::event::StageExit;
use sha2::{Digest, Sha256};

use crate::outcome::{Exit, Fault, Outcome};
use crate::report::points;
use crate::terminal::{self, Style, Terminal, printable, shorten};
use assize_domain::output::Entry;
use assize_signing::readiness::check_file;
use assize_signing::statement::{Receipt, RunStatement};
use assize_signing::{ReadinessStatement, Refused, Statement, TrustedKeys, Verified, envelope, keys, verify};

const EXAMPLES: &str = "\
EXAMPLES:
  assize verify verdict.dsse.json --keys keys.json
  assize verify receipt.json --key public.pem --archive project.zip
  assize verdict $RUN --format dsse | assize verify - --keys keys.json --json | jq .statement
  assize verify verdict.dsse.json --keys keys.json --output output.ndjson
  assize verify verdict.dsse.json --keys keys.json --artifacts saved
  assize verify readiness.json --key public.pem --artifacts .

EXIT CODES:
  0  the statement is signed by one of the keys, and describes the files that were given
  1  the statement is not valid
  2  the command line is wrong: a file cannot be read, or a key is not valid";

/// The longest line of output, in bytes. An entry holds one frame of 64 KiB, and JSON may make it six times as long.
const MAX_LINE: u64 = 1024 * 1024;

/// Check a signed receipt, verdict or readiness report, offline.
///
/// FILE is a DSSE envelope from `assize verdict --format dsse`, `assize submit --receipt`, the API or `make gate`; `-` is
/// stdin. The keys must come from a source that you trust: `assize key signing export` on the host of the
/// service, or `GET /v1/signing-keys`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Verify {
    /// Read the statement from this file; `-` is stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Trust this public key: base64, or a PEM file.
    #[arg(long, value_name = "PUBKEY", required_unless_present = "keys")]
    key: Option<String>,
    /// Trust the public keys in this file: the JSON of `assize key signing export`, or PEM.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Check that the statement describes this archive; of a readiness report, this program.
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Check that the run wrote this output, as `GET /v1/runs/{id}/output?format=ndjson` returns it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Check the files in this folder, as `assize artifacts --save` wrote them: every artifact of the run, unchanged. Of
    /// a readiness report: every file of its data.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Print the result and the whole statement as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// [`Fault`] if a file or a key cannot be read. A statement that is not valid is a result, not a fault.
pub fn run(command: &Verify) -> Outcome {
    let trusted = trusted(command)?;
    let bytes = if command.file.as_os_str() == "-" {
        bounded(std::io::stdin().lock(), envelope::MAX_BYTES)
            .map_err(|error| Fault::usage(format!("stdin: {error}")))?
    } else {
        read(&command.file, envelope::MAX_BYTES)?
    };
    let checked = match verify(&bytes, &trusted) {
        Ok(verified) => check_files(command, &verified)?.map(|()| verified),
        Err(refused) => Err(refused),
    };
    match checked {
        Ok(verified) => {
            print_statement(command, &verified);
            Ok(Exit::Success)
        }
        Err(refused) => {
            if command.json {
                terminal::json(&serde_json::json!({ "verified": false, "reason": refused.to_string() }));
            } else {
                let terminal = Terminal::stdout();
                let reason = shorten(&printable(&refused.to_string()), 1000);
                terminal.line(format!("{}: {reason}", terminal.paint(Style::Bad, "NOT VERIFIED")));
            }
            Ok(Exit::NotVerified)
        }
    }
}

fn trusted(command: &Verify) -> Result<TrustedKeys, Fault> {
    let mut trusted = TrustedKeys::default();
    if let Some(path) = &command.keys {
        trusted = trusted.and(keys_in(path)?);
    }
    if let Some(key) = &command.key {
        trusted = trusted.and(match TrustedKeys::read(key) {
            Ok(keys) => keys,
            Err(_) if Path::new(key).exists() => keys_in(Path::new(key))?,
            Err(error) => return Err(Fault::usage(format!("--key is neither a file nor a public key: {error}"))),
        });
    }
    Ok(trusted)
}

fn keys_in(path: &Path) -> Result<TrustedKeys, Fault> {
    let fault = |reason: String| Fault::usage(format!("the keys in {}: {reason}", path.display()));
    let text = String::from_utf8(read(path, keys::MAX_BYTES)?).map_err(|_| fault("it is not text".to_owned()))?;
    TrustedKeys::read(&text).map_err(|error| fault(error.to_string()))
}

/// Reads at most one byte more than `limit`, which is enough to reject the file for its length.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Fault> {
    let fault = |error: std::io::Error| Fault::usage(format!("cannot read {}: {error}", path.display()));
    bounded(File::open(path).map_err(fault)?, limit).map_err(fault)
}

fn bounded(from: impl Read, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_files(command: &Verify, verified: &Verified) -> Result<Result<(), Refused>, Fault> {
    if let Some(path) = &command.archive
        && let Err(refused) = verified.check_archive(&sha256_of(path)?)
    {
        return Ok(Err(refused));
    }
    if let Some(folder) = &command.artifacts
        && let Err(refused) = check_artifacts(folder, verified)?
    {
        return Ok(Err(refused));
    }
    match (&command.output, &verified.statement) {
        (None, _) => Ok(Ok(())),
        (Some(_), Statement::Receipt(_) | Statement::Readiness(_)) => Ok(Err(Refused::NoOutput)),
        (Some(path), Statement::Run(run)) => Ok(verified.check_output(&sha256_of_attempt(path, run.attempt)?)),
    }
}

/// Whether the folder has every artifact of the statement. Other files in it do not matter.
fn check_artifacts(folder: &Path, verified: &Verified) -> Result<Result<(), Refused>, Fault> {
    if let Statement::Readiness(readiness) = &verified.statement {
        return check_report_files(folder, readiness);
    }
    let artifacts = match verified.artifacts() {
        Ok(artifacts) => artifacts,
        Err(refused) => return Ok(Err(refused)),
    };
    for artifact in artifacts {
        if name_problem(&artifact.name).is_some() {
            let reason = format!("an artifact has the name {:?}", artifact.name);
            return Ok(Err(Refused::NotAStatement(reason)));
        }
        let path = folder.join(artifact.origin.as_str()).join(&artifact.name);
        if let Err(refused) = artifact.check(&sha256_of(&path)?) {
            return Ok(Err(refused));
        }
    }
    Ok(Ok(()))
}

/// Whether the folder has every file that a readiness report names.
fn check_report_files(folder: &Path, readiness: &ReadinessStatement) -> Result<Result<(), Refused>, Fault> {
    for file in &readiness.files {
        if name_problem(&file.name).is_some() {
            return Ok(Err(Refused::NotAStatement(format!("a file has the name {:?}", file.name))));
        }
        if let Err(refused) = check_file(file, &sha256_of(&folder.join(&file.name))?) {
            return Ok(Err(refused));
        }
    }
    Ok(Ok(()))
}

/// Returns the SHA-256 of a file of any size, which is read in pieces.
fn sha256_of(path: &Path) -> Result<String, Fault> {
    let fault = |error: std::io::Error| Fault::usage(format!("cannot read {}: {error}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(fault)?);
    let mut digest = Sha256::new();
    loop {
        let piece = file.fill_buf().map_err(fault)?;
        if piece.is_empty() {
            return Ok(hex::encode(digest.finalize()));
        }
        digest.update(piece);
        let taken = piece.len();
        file.consume(taken);
    }
}

/// Returns the SHA-256 of the output lines of one attempt.
fn sha256_of_attempt(path: &Path, attempt: i32) -> Result<String, Fault> {
    let fault = |reason: String| Fault::usage(format!("the output in {}: {reason}", path.display()));
    let mut file = BufReader::new(File::open(path).map_err(|error| fault(error.to_string()))?);
    let mut digest = Sha256::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut file).take(MAX_LINE).read_until(b'\n', &mut line).map_err(|error| fault(error.to_string()))?;
        if line.is_empty() {
            return Ok(hex::encode(digest.finalize()));
        }
        let entry: Entry = serde_json::from_slice(&line).map_err(|error| {
            fault(format!("a line is not an output entry ({error}); request the output with ?format=ndjson"))
        })?;
        if i32::try_from(entry.id().attempt) == Ok(attempt) {
            digest.update(&line);
        }
    }
}

fn print_statement(command: &Verify, verified: &Verified) {
    if command.json {
        terminal::json(&serde_json::json!({
            "verified": true, "key_id": verified.key_id, "archive_sha256": verified.archive_sha256,
            "archive_checked": command.archive.is_some(), "output_checked": command.output.is_some(),
            "artifacts_checked": command.artifacts.is_some(),
            "statement": verified.signed,
        }));
        return;
    }
    let terminal = Terminal::stdout();
    terminal.line(terminal.paint(Style::Good, "VERIFIED"));
    let rows = match &verified.statement {
        Statement::Receipt(receipt) => receipt_rows(receipt),
        Statement::Run(run) => run_rows(run),
        Statement::Readiness(readiness) => readiness_rows(readiness),
    };
    let checked = |path: &Option<PathBuf>| if path.is_some() { " (the given file matches)" } else { "" };
    let subject = if matches!(verified.statement, Statement::Readiness(_)) { "program" } else { "archive" };
    let mut all = vec![(subject, format!("sha256 {}{}", verified.archive_sha256, checked(&command.archive)))];
    all.extend(rows);
    if command.output.is_some() {
        all.push(("", "the given output matches".to_owned()));
    }
    if command.artifacts.is_some() {
        all.push(("", "the given artifacts match".to_owned()));
    }
    all.push(("signed by", verified.key_id.clone()));
    for (name, what) in all {
        terminal.line(format!(
            "  {} {}",
            terminal.paint(Style::Dim, format!("{name:<12}")),
            shorten(&printable(&what), 500)
        ));
    }
}

fn receipt_rows(receipt: &Receipt) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("receipt", format!("submission {}", receipt.submission_id)),
        ("received", receipt.received_at.format("%F %T%.6f UTC").to_string()),
        ("size", format!("{} bytes", receipt.archive_bytes)),
        ("template", receipt.template.clone()),
        ("user", receipt.user.clone()),
        ("run", receipt.run_id.to_string()),
        ("organisation", receipt.organization_id.to_string()),
    ];
    if let Some(source) = &receipt.source {
        rows.push(("source", format!("{} {} at {}", source.repository_url, source.reference, source.commit)));
    }
    rows
}

fn run_rows(run: &RunStatement) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("run", format!("{} attempt {}", run.run_id, run.attempt)),
        ("submission", run.submission_id.to_string()),
        ("organisation", run.organization_id.to_string()),
    ];
    if let Some(template) = &run.template {
        rows.push(("template", format!("{} sha256 {}", template.name, template.digest.sha256)));
    }
    for cell in &run.cells {
        let digest = cell.image_digest.as_ref().map_or("unknown", |digest| digest.sha256.as_str());
        rows.push(("cell", format!("{}: {} sha256 {digest}", cell.role, cell.image)));
        let limits = cell.limits.as_object().into_iter().flatten();
        let limits: Vec<String> = limits.map(|(name, value)| format!("{name} {value}")).collect();
        rows.push(("limits", limits.join(", ")));
    }
    for stage in &run.stages {
        rows.push((
            "stage",
            format!("{} {}: {} in {} ms", stage.cell, stage.name, exit(&stage.exit), stage.duration_ms),
        ));
    }
    match &run.output {
        Some(output) => rows.push(("output", format!("sha256 {} ({} bytes)", output.digest.sha256, output.bytes))),
        None => rows.push(("output", "was not stored".to_owned())),
    }
    for artifact in &run.artifacts {
        let (origin, digest) = (artifact.origin.as_str(), &artifact.digest.sha256);
        rows.push(("artifact", format!("{origin}: {} sha256 {digest} ({} bytes)", artifact.name, artifact.bytes)));
    }
    rows.push(("started", run.started_at.format("%F %T%.6f UTC").to_string()));
    rows.push(("finished", run.finished_at.format("%F %T%.6f UTC").to_string()));
    rows.push(("status", run.status.to_string()));
    if let Some(failure) = &run.failure {
        rows.push(("failure", format!("{} ({}): {}", failure.code, failure.cause, failure.message)));
    }
    if let Some(verdict) = &run.verdict {
        rows.push(("score", format!("{} of {}", points(verdict.score), points(verdict.max_score))));
        let counted = verdict.tests.len();
        let passed = verdict.tests.iter().filter(|test| test.status.as_str() == "passed").count();
        rows.push(("tests", format!("{passed} of {counted} passed")));
    }
    if let Some(integrity) = run.integrity {
        let word = serde_json::to_value(integrity).ok().and_then(|word| word.as_str().map(str::to_owned));
        rows.push(("integrity", word.unwrap_or_default()));
    }
    rows
}

fn readiness_rows(readiness: &ReadinessStatement) -> Vec<(&'static str, String)> {
    let time = |at: chrono::DateTime<chrono::Utc>| at.format("%F %T UTC").to_string();
    let mut rows = vec![
        ("ready", if readiness.ready { "yes" } else { "no" }.to_owned()),
        ("commit", readiness.commit.clone()),
        ("load", format!("{} to {}", time(readiness.begun_at), time(readiness.ended_at))),
    ];
    for condition in &readiness.conditions {
        rows.push(("condition", format!("{}: {} ({})", condition.name, condition.outcome, condition.claim)));
    }
    rows.push(("files", readiness.files.len().to_string()));
    rows
}

fn exit(exit: &StageExit) -> String {
    match exit {
        StageExit::Exited { code } => format!("exit code {code}"),
        StageExit::Signalled { signal } => format!("signal {signal}"),
        StageExit::NotStarted { error } => format!("not started: {error}"),
        StageExit::TimedOut => "stage timeout".to_owned(),
        StageExit::GlobalTimedOut => "run timeout".to_owned(),
        StageExit::OutputLimit => "output limit exceeded".to_owned(),
        StageExit::Stopped => "stopped".to_owned(),
    }
}
