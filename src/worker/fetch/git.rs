//! What Git is told in the cell that fetches, and what its failures mean.

use std::collections::BTreeMap;

use assize_protocol::plan::{OutputLimits, Plan, ResultsFile, Stage, VERSION};

use crate::intake::repository::Repository;
use crate::worker::egress;
use crate::worker::plan::{PATH, capped};
use assize_cell::spec::{TMP, WORKSPACE, WRITABLE};
use assize_config::Config;
use assize_domain::limits::CellLimits;
use assize_domain::run::{Cause, Failure, FailureCode, StageName};
use assize_protocol::plan::GRACE_MS;

/// Git and its certificates, made by `images/build`.
pub const FETCH_IMAGE: &str = "assize/fetch:1";

const SCRIPT: &str = include_str!("git.sh");

/// For all of it, in seconds. A course project takes two; 100 MiB at 1 MiB/s takes 100.
const TIMEOUT_S: u64 = 120;

/// For one look through all folders of the commit, in seconds. 10,000 files take a tenth of one.
const TREE_TIMEOUT_S: u64 = 20;

/// A host that sends less than this many bytes a second for so many seconds has stalled.
pub const SLOW_BYTES: u64 = 1024;
/// Longer than the tunnel gives it: what the tunnel saw outranks what Git says.
const SLOW_S: u64 = 40;

/// Bytes of output: what a server says to people is shown, up to a point.
const OUTPUT: OutputLimits = OutputLimits { head: 32 * 1024, tail: 32 * 1024, limit: 1024 * 1024 };

/// The first line of what comes out: a commit in hexadecimal, by SHA-256 at the longest.
pub const HEADER_BYTES: u64 = 65;

/// Bytes that the repository may send: its objects for one commit, packed by Git, which packs about as well
/// as the archive does; and what is said around them.
#[must_use]
pub const fn quota(config: &Config) -> u64 {
    config.max_archive_bytes.saturating_mul(2)
}

/// Room for what was sent, its archive, and the lists in between.
#[must_use]
pub const fn limits(config: &Config) -> CellLimits {
    let workspace_mib = (quota(config).saturating_add(config.max_archive_bytes) >> 20) + 64;
    // The workspace is memory too; Git itself holds large files in pieces.
    CellLimits {
        cpus: 1.0,
        memory_mib: workspace_mib + 320,
        pids: 64,
        workspace_mib,
        workspace_inodes: 65_536,
        tmp_mib: 16,
    }
}

/// One stage, which leaves the commit and the archive behind it in one file.
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
    };
    Plan {
        version: VERSION,
        inputs: egress::certificates(config).into_iter().collect(),
        stages: vec![stage],
        // The stage's own limit is to be the one that is met.
        global_timeout_ms: timeout_ms + 10_000,
        grace_ms: GRACE_MS,
        results: Some(ResultsFile {
            path: format!("{WORKSPACE}/fetched"),
            max_bytes: config.max_archive_bytes.saturating_add(HEADER_BYTES),
        }),
        disks: vec![WORKSPACE.to_owned(), TMP.to_owned()],
        writable: WRITABLE.map(str::to_owned).into(),
    }
}

/// No setting of the system's or a user's, no program but Git's own, no prompt, no protocol but one.
fn environment(repository: &Repository, config: &Config) -> BTreeMap<String, String> {
    let scheme = if repository.url.starts_with("https://") { "https" } else { "http" };
    let allow = format!("protocol.{scheme}.allow");
    let (slow_bytes, slow_s) = (SLOW_BYTES.to_string(), SLOW_S.to_string());
    let settings = [
        ("protocol.allow", "never"),
        (&allow, "always"),
        // From one host to itself only: the tunnel leads nowhere else, and no other scheme is allowed.
        ("http.followRedirects", "initial"),
        ("http.lowSpeedLimit", &slow_bytes),
        ("http.lowSpeedTime", &slow_s),
        // Objects that were made to harm clients are refused as they come in. Old tools wrote modes with a zero.
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
        // What came stays one pack, and large files stay on the disk while it is looked through.
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
        // The first moment that a zip can hold.
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

/// What the tunnel of a fetch saw, and what Git said first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Why the host could not be reached, if that was the last that was heard of it.
    pub outage: Option<String>,
    /// How it broke off or stalled, if that was the last that was heard of it.
    pub stall: Option<String>,
    /// The bytes that it may send, if they were used up.
    pub spent: Option<u64>,
    /// The beginning of the stage's stderr.
    pub first_words: String,
}

/// Bytes of stderr that are kept as first words.
pub const FIRST_WORDS: usize = 4096;

/// What a fetch that failed means: a host that could not be reached, stalled, broke down or has a certificate that is
/// not trusted is nobody's fault who handed something in; all else is what this repository is.
///
/// Who says a line decides, and not what it says. What the tunnel saw comes first. Of what Git says only the very first
/// line counts ([`own_words`]): whatever a server or a repository has to say stands behind words of Git's own, but can
/// hold line feeds, so that any later line may be theirs, however it begins.
#[must_use]
pub fn judge(mut failure: Failure, seen: &Seen) -> Failure {
    // What the infrastructure did stays its own, whatever was fetched.
    if failure.code.cause() == Cause::Infrastructure {
        return failure;
    }
    let said = failure.evidence.last_output.as_deref().unwrap_or_default();
    // Its exit code says nothing more; the limits of its cell do.
    let by_itself = failure.code == FailureCode::FetchFailed;
    let last = said.lines().rev().find_map(|line| line.strip_prefix("fatal: ").or(line.strip_prefix("fetch: ")));
    let why = last.filter(|_| by_itself).unwrap_or(&failure.evidence.message);
    let own = own_words(&seen.first_words).filter(|_| by_itself);
    // However the connection ended afterwards: many a server resets it behind its answer.
    let went_away = by_itself && !was_answered(said) && !was_answered(&seen.first_words);
    let (code, message) = match (seen, own) {
        (Seen { spent: Some(limit), .. }, _) => (
            FailureCode::FetchFailed,
            format!("the repository's host sent more than {limit} bytes, the limit for one commit; make it smaller"),
        ),
        (Seen { outage: Some(why), .. }, _) if went_away => {
            (FailureCode::NetworkError, format!("the repository's host could not be reached: {why}"))
        }
        (Seen { stall: Some(how), .. }, _) if went_away => {
            (FailureCode::NetworkError, format!("the repository's host broke off or stalled: {how}: {why}"))
        }
        // Nobody who hands something in has a say in that.
        (_, Some((OwnWords::Untrusted, words))) => (
            FailureCode::NetworkError,
            format!(
                "the certificate of the repository's host is not trusted: {words}; extra_ca_file names more authorities"
            ),
        ),
        (_, Some((OwnWords::Away, words))) => {
            (FailureCode::NetworkError, format!("the repository's host broke off or stalled: {words}"))
        }
        _ => (FailureCode::FetchFailed, format!("the repository could not be fetched: {why}")),
    };
    (failure.code, failure.evidence.message) = (code, message);
    failure
}

/// Whether a server gave an answer that ended the fetch. A server can write these lines too, and only has itself blamed.
fn was_answered(said: &str) -> bool {
    const ANSWERS: &[&str] = &[
        "fatal: remote error: ",
        "fatal: repository '",
        "fatal: couldn't find remote ref",
        "fatal: protocol error",
        "fatal: invalid server response",
        "fetch: ",
    ];
    said.lines().any(|line| ANSWERS.iter().any(|answer| line.starts_with(answer)) || line.contains("returned error: 4"))
}

/// What Git says by itself of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnWords {
    /// It broke off, stalled or broke down.
    Away,
    /// Its certificate is not trusted.
    Untrusted,
}

/// What Git's first line says of the host, and that line, if it is about the connection at all.
///
/// That line begins with words of Git's, and what a server says stands behind `remote:` or `remote error:`. Git's report of
/// a connection that failed begins in two ways, and then has the words of its HTTP client, which are compared from their
/// beginning: further on they may quote a name in a certificate or the address of a redirect.
fn own_words(said: &str) -> Option<(OwnWords, &str)> {
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
    // In the words of GnuTLS, which Debian's Git speaks through, and of OpenSSL.
    const UNTRUSTED: &[&str] = &[
        "server certificate verification failed",
        "server verification failed",
        "certificate verification failed",
        "SSL certificate problem",
        "SSL: certificate subject name",
        "SSL: no alternative certificate subject name",
    ];
    // It names an address of its own, on one line.
    let first = said.lines().find(|line| !line.starts_with("warning: redirecting to "))?;
    let words = if let Some(rest) = first.strip_prefix("fatal: unable to access '") {
        // No address that is let in has a quote or a space.
        rest.split_once("': ")?.1
    } else {
        let rest = first.strip_prefix("error: RPC failed; ")?;
        let rest = rest.strip_prefix("HTTP ").and_then(|rest| rest.split_once(' ')).map_or(rest, |(_, rest)| rest);
        rest.strip_prefix("curl ")?.split_once(' ')?.1
    };
    let begins = |any: &[&str]| any.iter().any(|begin| words.starts_with(begin));
    match (begins(UNTRUSTED), begins(AWAY)) {
        (true, _) => Some((OwnWords::Untrusted, words)),
        (false, true) => Some((OwnWords::Away, words)),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests;
