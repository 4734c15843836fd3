//! Addresses of repositories that lead to forbidden places. Each is submitted as `repository_url`. The submission must
//! be rejected or end without a point, and the canaries of this host must not be reached.

use reqwest::Method;
use reqwest::multipart::Form;
use uuid::Uuid;

use super::case::{Case, CaseOutcome, Group};
use super::context::AttackContext;
use super::trial::{self, Expectation};

/// Name, address (`{port}` stands for a listener on this host), what the address is.
const ADDRESSES: &[(&str, &str, &str)] = &[
    ("ext", "ext::sh -c touch% /tmp/assize-attack", "a command, by git's ext transport"),
    ("fd", "fd::17", "a descriptor of the fetcher"),
    ("file", "file:///etc", "a folder of the host"),
    ("path", "/etc", "a path of the host"),
    ("relative", "../../etc", "a relative path"),
    ("option", "--upload-pack=touch /tmp/assize-attack", "an option instead of an address"),
    ("option-in-host", "ssh://-oProxyCommand=touch/x", "an option as the host of ssh (CVE-2017-1000117)"),
    ("ssh", "ssh://git@127.0.0.1/x", "ssh"),
    ("scp", "git@127.0.0.1:x", "ssh in its short form"),
    ("git-protocol", "git://127.0.0.1:{port}/x", "git's own protocol"),
    ("ftp", "ftp://127.0.0.1:{port}/x", "FTP"),
    ("plain-http", "http://127.0.0.1:{port}/x.git", "the loopback without encryption"),
    ("loopback", "https://127.0.0.1:{port}/x.git", "the loopback"),
    ("localhost", "https://localhost:{port}/x.git", "the loopback by its name"),
    ("decimal", "https://2130706433:{port}/x.git", "the loopback as one decimal number"),
    ("octal", "https://0177.0.0.1:{port}/x.git", "the loopback in octal"),
    ("hex", "https://0x7f000001:{port}/x.git", "the loopback in hexadecimal"),
    ("short", "https://127.1:{port}/x.git", "the loopback with a part left out"),
    ("zero", "https://0.0.0.0:{port}/x.git", "the address that is every address"),
    ("v6-loopback", "https://[::1]:{port}/x.git", "the loopback over IPv6"),
    ("v6-mapped", "https://[::ffff:127.0.0.1]:{port}/x.git", "the loopback as an IPv4-mapped address"),
    ("v6-nat64", "https://[64:ff9b::7f00:1]:{port}/x.git", "the loopback behind NAT64"),
    ("metadata", "https://169.254.169.254/latest/meta-data.git", "the cloud's metadata"),
    ("private", "https://10.0.0.1/x.git", "a private address"),
    ("userinfo", "https://github.com@127.0.0.1:{port}/x.git", "a known host as the user of another"),
    (
        "userinfo-encoded",
        "https://github.com%2f@127.0.0.1:{port}/x.git",
        "a known host as the user of another, with an encoded slash",
    ),
    ("rebinding-name", "https://127.0.0.1.nip.io:{port}/x.git", "a name that resolves to the loopback"),
    ("line-feed", "https://example.com/x.git\nHost: 127.0.0.1", "an address with a line feed"),
    ("carriage-return", "https://example.com/x\r", "a trailing carriage return (CVE-2025-48384)"),
    ("space", "https://example.com/x.git --config core.sshCommand=touch", "an address with an option behind it"),
    (
        "credential-lines",
        "https://example.com/%0ahost=127.0.0.1",
        "an encoded line feed for credential helpers (CVE-2020-5260)",
    ),
    ("long", "LONG", "an address of 100,000 characters"),
];

/// Every case of this group.
#[must_use]
pub fn cases() -> Vec<Case> {
    let control = "the API rejects the form of the address, or the fetch runs in a cell that cannot reach the place";
    let cases = ADDRESSES.iter().map(|(name, _, tried)| Case::new(Group::Git, name, *tried, control));
    cases.collect()
}

/// Tries every requested case, one after another, because a connection to a canary does not identify its case.
pub async fn run(context: &AttackContext) {
    for ((_, address, _), case) in ADDRESSES.iter().zip(cases()) {
        if context.wants(&case.id) {
            let outcome = one(context, &case.id, address).await.unwrap_or_else(CaseOutcome::Inconclusive);
            let outcome = match (outcome, context.host_canary.check()) {
                (_, Err(reached)) => CaseOutcome::Escaped(reached),
                (outcome, Ok(())) => outcome,
            };
            context.record(&case.id, outcome);
        }
    }
    if std::path::Path::new("/tmp/assize-attack").exists() {
        for case in cases().iter().filter(|case| case.id.ends_with("/ext") || case.id.ends_with("/option")) {
            context.record(&case.id, CaseOutcome::Escaped("/tmp/assize-attack was made on the host".to_owned()));
        }
    }
}

async fn one(context: &AttackContext, id: &str, address: &str) -> Result<CaseOutcome, String> {
    let address = match address {
        "LONG" => format!("https://example.com/{}", "x".repeat(100_000)),
        address => address.replace("{port}", &context.host_canary.port.to_string()),
    };
    let form = Form::new()
        .text("template", "script")
        .text("user", id.to_owned())
        .text("repository_url", address)
        .text("ref", "main");
    let answer = context.send(context.request(Method::POST, "/v1/submissions").multipart(form)).await?;
    let Some(run) = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()) else {
        return Ok(CaseOutcome::contained_if((400..500).contains(&answer.status), answer.summary()));
    };
    context.assign_run(run, &[id.to_owned()]);
    // A name that does not resolve on this host is not an escape, whatever the cause of the failure.
    let ended = context.ended(run).await?;
    match trial::assess(&ended, Expectation::GainsNothing) {
        CaseOutcome::Escaped(seen) if ended["status"] == "failed" => Ok(CaseOutcome::Contained(seen)),
        outcome => Ok(outcome),
    }
}
