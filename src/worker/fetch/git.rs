//! The plan of the cell that fetches a repository with Git, and the meaning of Git's failures.

use std::collections::BTreeMap;

use assize_cell::spec::{TMP, WORKSPACE, WRITABLE};
use assize_config::Config;
use assize_domain::limits::CellLimits;
use assize_domain::run::{Cause, Failure, FailureCode, StageName};
use assize_protocol::plan::{GRACE_MS, OutputLimits, Plan, ResultsFile, Stage, VERSION};

use crate::intake::repository::Repository;
use crate::worker::egress;
use crate::worker::plan::{PATH, capped};

/// The image with Git and its certificates, made by `images/build`.
pub const FETCH_IMAGE: &str = "assize/fetch:1";

const SCRIPT: &str = include_str!("git.sh");

/// Time limit of the whole fetch, in seconds. A course project takes two; 100 MiB at 1 MiB/s takes 100.
const TIMEOUT_S: u64 = 120;

/// Time limit for listing all folders of the commit, in seconds. 10,000 files take a tenth of a second.
const TREE_TIMEOUT_S: u64 = 20;

/// A host that is slower than [`egress::MIN_FETCH_BYTES_PER_S`] for this long has stalled, in seconds. Longer than the
/// tunnel's own limit, because the tunnel's observation outranks Git's message.
const STALL_TIMEOUT_S: u64 = 40;

/// CellLimits of the stage's output, in bytes. Messages of the server are shown up to these.
const OUTPUT: OutputLimits = OutputLimits { head: 32 * 1024, tail: 32 * 1024, limit: 1024 * 1024 };

/// The longest first line of the fetched file, in bytes: a commit in hexadecimal, by SHA-256, and a line feed.
pub const HEADER_BYTES: u64 = 65;

/// Bytes that the repository may send: the packed objects of one commit and the protocol around them. Git packs about
/// as well as the archive does.
#[must_use]
pub const fn allowance(config: &Config) -> u64 {
    config.max_archive_bytes.saturating_mul(2)
}

/// The limits of the cell: room for the received objects, their archive, and the lists in between.
#[must_use]
pub const fn limits(config: &Config) -> CellLimits {
    let workspace_mib = (allowance(config).saturating_add(config.max_archive_bytes) >> 20) + 64;
    // The workspace is memory too. Git itself reads large files in pieces.
    CellLimits {
        cpus: 1.0,
        memory_mib: workspace_mib + 320,
        pids: 64,
        workspace_mib,
        workspace_inodes: 65_536,
        tmp_mib: 16,
    }
}

/// The plan of the fetch: one stage, which writes the commit and then the archive into one file.
#[must_use]
pub fn plan(repository: &Repository, config: &Config) -> Plan {
    let command = ["/bin/bash", "-c", SCRIPT, "fetch", &repository.url, &repository.reference];
    let timeout_ms = capped(TIMEOUT_S, config);
    let (proxy, reach) = egress::proxy_of_fetch(config);
    let mut env = environment(repository, config);
    env.extend(reach);
    let stage = Stage {
        name: StageName::Fetch.as_str().to_owned(),
        command: command.map(str::to_owned).into(),
        cwd: WORKSPACE.to_owned(),
        env,
        timeout_ms,
        output: OUTPUT,
        ready: None,
        egress: Some(proxy),
        scratch: None,
        exec: None,
        progress: false,
    };
    Plan {
        version: VERSION,
        inputs: egress::certificates(config).into_iter().collect(),
        stages: vec![stage],
        // Longer than the stage's own limit, so that the stage's limit is reached first.
        global_timeout_ms: timeout_ms + 10_000,
        grace_ms: GRACE_MS,
        results: Some(ResultsFile {
            path: format!("{WORKSPACE}/fetched"),
            max_bytes: config.max_archive_bytes.saturating_add(HEADER_BYTES),
        }),
        artifacts: None,
        disks: vec![WORKSPACE.to_owned(), TMP.to_owned()],
        writable: WRITABLE.map(str::to_owned).into(),
        exec: None,
    }
}

/// The environment of Git: it reads no setting of the system or of a user, runs no program but its own, never prompts,
/// and speaks one protocol.
fn environment(repository: &Repository, config: &Config) -> BTreeMap<String, String> {
    let scheme = if repository.url.starts_with("https://") { "https" } else { "http" };
    let allow = format!("protocol.{scheme}.allow");
    let (slow_bytes, slow_s) = (egress::MIN_FETCH_BYTES_PER_S.to_string(), STALL_TIMEOUT_S.to_string());
    let settings = [
        ("protocol.allow", "never"),
        (&allow, "always"),
        // A redirect can only lead to the same host: the tunnel reaches no other, and no other scheme is allowed.
        ("http.followRedirects", "initial"),
        ("http.lowSpeedLimit", &slow_bytes),
        ("http.lowSpeedTime", &slow_s),
        // Objects that were made to harm clients are rejected on arrival. Old tools wrote modes with a leading zero.
        ("transfer.fsckObjects", "true"),
        ("fetch.fsckObjects", "true"),
        ("fetch.fsck.zeroPaddedFilemode", "ignore"),
        ("fetch.recurseSubmodules", "false"),
        ("submodule.recurse", "false"),
        ("core.hooksPath", "/dev/null"),
        ("core.fsmonitor", "false"),
        ("core.attributesFile", "/dev/null"),
        ("core.symlinks", "false"),
        ("core.autocrlf", "false"),
        ("core.askPass", "/bin/false"),
        ("credential.helper", ""),
        ("init.defaultBranch", "none"),
        // The received objects stay one pack, and large files stay on the disk while the pack is listed.
        ("fetch.unpackLimit", "1"),
        ("core.bigFileThreshold", "4m"),
        ("core.deltaBaseCacheLimit", "32m"),
        ("pack.threads", "1"),
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
    ];
    let own = [
        ("PATH", PATH),
        ("HOME", "/nonexistent"),
        ("TMPDIR", TMP),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("GIT_DIR", "/workspace/repository"),
        ("GIT_ALLOW_PROTOCOL", scheme),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", "/bin/false"),
        ("SSH_ASKPASS", "/bin/false"),
        ("GIT_SSH_COMMAND", "/bin/false"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        ("GIT_AUTHOR_NAME", "assize"),
        ("GIT_AUTHOR_EMAIL", "assize"),
        // The earliest time that a zip can hold.
        ("GIT_AUTHOR_DATE", "315532800 +0000"),
        ("GIT_COMMITTER_NAME", "assize"),
        ("GIT_COMMITTER_EMAIL", "assize"),
        ("GIT_COMMITTER_DATE", "315532800 +0000"),
    ];
    let mut env: BTreeMap<_, _> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    env.insert("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string());
    for (number, (key, value)) in settings.into_iter().enumerate() {
        env.insert(format!("GIT_CONFIG_KEY_{number}"), key.to_owned());
        env.insert(format!("GIT_CONFIG_VALUE_{number}"), value.to_owned());
    }
    env.insert("MAX_FILES".to_owned(), config.max_archive_entries.to_string());
    env.insert("MAX_BYTES".to_owned(), config.max_unpacked_bytes.to_string());
    env.insert("TREE_TIMEOUT_S".to_owned(), TREE_TIMEOUT_S.to_string());
    env
}

/// What was observed of a fetch: by its tunnel, and in the first lines of Git.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchEvidence {
    /// Why the host could not be reached, if its last connection ended so.
    pub outage: Option<String>,
    /// How the host broke off or stalled, if its last connection ended so.
    pub stall: Option<String>,
    /// The bytes that the host may send, if it has sent them.
    pub spent: Option<u64>,
    /// The beginning of the stage's stderr.
    pub stderr_prefix: String,
}

/// The length of [`FetchEvidence::stderr_prefix`], in bytes.
pub const STDERR_PREFIX_BYTES: usize = 4096;

/// Classifies a failed fetch. An unreachable, stalled, broken or untrusted host is an infrastructure failure. Everything
/// else is attributed to the repository.
///
/// The author of a line decides, not its text. The tunnel's observation comes first. Of Git's messages only the very
/// first line counts ([`git_report`]): Git quotes servers and repositories behind words of its own, but such a quote can
/// contain line feeds, so any later line may be theirs, however it begins.
#[must_use]
pub fn classify_failure(mut failure: Failure, seen: &FetchEvidence) -> Failure {
    // A failure of the infrastructure stays one, whatever was fetched.
    if failure.code.cause() == Cause::Infrastructure {
        return failure;
    }
    let output = failure.evidence.last_output.as_deref().unwrap_or_default();
    // Git's exit code adds nothing to its messages; a limit of the cell that was reached does.
    let by_itself = failure.code == FailureCode::FetchFailed;
    let last = output.lines().rev().find_map(|line| line.strip_prefix("fatal: ").or(line.strip_prefix("fetch: ")));
    let why = last.filter(|_| by_itself).unwrap_or(&failure.evidence.message);
    let report = git_report(&seen.stderr_prefix).filter(|_| by_itself);
    // An answer counts however the connection ended afterwards: many servers reset it after their answer.
    let went_away = by_itself && !was_answered(output) && !was_answered(&seen.stderr_prefix);
    let (code, message) = match (seen, report) {
        (FetchEvidence { spent: Some(limit), .. }, _) => (
            FailureCode::FetchFailed,
            format!("the repository's host sent more than {limit} bytes, the limit for one commit; make it smaller"),
        ),
        (FetchEvidence { outage: Some(why), .. }, _) if went_away => {
            (FailureCode::NetworkError, format!("the repository's host could not be reached: {why}"))
        }
        (FetchEvidence { stall: Some(how), .. }, _) if went_away => {
            (FailureCode::NetworkError, format!("the repository's host broke off or stalled: {how}: {why}"))
        }
        // Whoever submits a repository cannot change which authorities this installation trusts.
        (_, Some((HostFailure::Untrusted, words))) => (
            FailureCode::NetworkError,
            format!(
                "the certificate of the repository's host is not trusted: {words}; extra_ca_file names more authorities"
            ),
        ),
        (_, Some((HostFailure::Unavailable, words))) => {
            (FailureCode::NetworkError, format!("the repository's host broke off or stalled: {words}"))
        }
        _ => (FailureCode::FetchFailed, format!("the repository could not be fetched: {why}")),
    };
    (failure.code, failure.evidence.message) = (code, message);
    failure
}

/// Whether the server's answer ended the fetch. A server can forge these lines, but only its own repository is blamed
/// for it.
fn was_answered(output: &str) -> bool {
    const ANSWERS: &[&str] = &[
        "fatal: remote error: ",
        "fatal: repository '",
        "fatal: couldn't find remote ref",
        "fatal: protocol error",
        "fatal: invalid server response",
        "fetch: ",
    ];
    output
        .lines()
        .any(|line| ANSWERS.iter().any(|answer| line.starts_with(answer)) || line.contains("returned error: 4"))
}

/// A failure of the host that Git itself reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HostFailure {
    /// The host broke off, stalled or answered with a server error.
    Unavailable,
    /// The host's certificate is not trusted.
    Untrusted,
}

/// The failure that Git's first line reports of the host, with the words of its HTTP client. `None` if the line is about
/// anything else.
///
/// Git quotes a server behind `remote:` or `remote error:`. Its report of a failed connection begins in one of two ways,
/// followed by the words of its HTTP client. These words are compared from their beginning: further on they may quote a
/// name in a certificate or the address of a redirect.
fn git_report(stderr: &str) -> Option<(HostFailure, &str)> {
    const AWAY: &[&str] = &[
        "Connection reset",
        "Connection timed out",
        "Operation timed out",
        "Operation too slow",
        "SSL connection timeout",
        "Recv failure",
        "Send failure",
        "Empty reply from server",
        "GnuTLS recv error",
        "GnuTLS, handshake failed: The TLS connection was non-properly terminated",
        "gnutls_handshake() failed: The TLS connection was non-properly terminated",
        "transfer closed with",
        "The requested URL returned error: 5",
    ];
    // The messages of GnuTLS, which Debian's Git is built with, and of OpenSSL.
    const UNTRUSTED: &[&str] = &[
        "server certificate verification failed",
        "server verification failed",
        "certificate verification failed",
        "SSL certificate problem",
        "SSL: certificate subject name",
        "SSL: no alternative certificate subject name",
    ];
    // Git's notice of a redirect takes one line and may come first.
    let first = stderr.lines().find(|line| !line.starts_with("warning: redirecting to "))?;
    let words = if let Some(rest) = first.strip_prefix("fatal: unable to access '") {
        // No address that the rules allow contains a quote or a space.
        rest.split_once("': ")?.1
    } else {
        let rest = first.strip_prefix("error: RPC failed; ")?;
        let rest = rest.strip_prefix("HTTP ").and_then(|rest| rest.split_once(' ')).map_or(rest, |(_, rest)| rest);
        rest.strip_prefix("curl ")?.split_once(' ')?.1
    };
    let begins = |any: &[&str]| any.iter().any(|begin| words.starts_with(begin));
    match (begins(UNTRUSTED), begins(AWAY)) {
        (true, _) => Some((HostFailure::Untrusted, words)),
        (false, true) => Some((HostFailure::Unavailable, words)),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests;
