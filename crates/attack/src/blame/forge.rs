//! A Git server that sends the messages which Git itself prints for an unreachable host or an untrusted certificate.
//! Such a text is not evidence.

use std::collections::HashMap;

use reqwest::Method;
use reqwest::multipart::Form;
use uuid::Uuid;

use super::{case, id};
use crate::case::{Case, CaseOutcome};
use crate::context::AttackContext;
use crate::trial::{self, Expectation};
use assize_domain::run::FailureCode;

/// The place in which the server sends its text.
enum Way {
    /// As an error in place of the list of refs.
    Error,
    /// As an error; afterwards the server resets the connection.
    ErrorAndReset,
    /// As progress messages and then an error, in place of a pack.
    Messages,
    /// As the body of an answer with this status.
    Body(&'static str),
    /// In place of a packet.
    Raw,
    /// As the target of a redirect.
    Redirect,
}

/// Name, what is tried, the place of the text, the text (`{url}` is the address of the repository).
const TRIED: &[(&str, &str, Way, &str)] = &[
    (
        "git-error-reset",
        "`remote error:` that says that the connection was reset",
        Way::Error,
        "Connection reset by peer",
    ),
    ("git-error-timeout", "`remote error:` that says that the operation timed out", Way::Error, "Operation timed out"),
    (
        "git-error-resolve",
        "`remote error:` that says that no host resolved",
        Way::Error,
        "Could not resolve host: example.org",
    ),
    (
        "git-error-certificate",
        "`remote error:` that says that a certificate is not trusted",
        Way::Error,
        "server certificate verification failed. CAfile: none CRLfile: none",
    ),
    (
        "git-error-lines",
        "`remote error:` of two lines, the second like Git's own of a host that is away",
        Way::Error,
        "no\nfatal: unable to access '{url}/': Recv failure: Connection reset by peer",
    ),
    (
        "git-error-rpc",
        "`remote error:` of two lines, the second like Git's own of a transfer that broke off",
        Way::Error,
        "no\nerror: RPC failed; curl 28 Operation too slow. Less than 1024 bytes/sec",
    ),
    (
        "git-error-and-reset",
        "`remote error:` and a connection that is reset behind it",
        Way::ErrorAndReset,
        "Connection reset by peer",
    ),
    (
        "git-messages",
        "messages for people of many lines, each like Git's own of a host that is away",
        Way::Messages,
        "\rfatal: unable to access '{url}/': Connection reset by peer\nerror: RPC failed; curl 56 Recv failure\n",
    ),
    (
        "git-status-text",
        "a text beside the status 403 that says that a host is away",
        Way::Body("403 Forbidden"),
        "fatal: unable to access '{url}/': Operation timed out\n",
    ),
    (
        "git-missing-text",
        "a text beside the status 404 that says the same",
        Way::Body("404 Not Found"),
        "error: RPC failed; curl 28 Operation timed out\n",
    ),
    ("git-raw", "no packet, but words", Way::Raw, "Recv failure: Connection reset by peer\n"),
    (
        "git-redirect",
        "leads to a host whose name is what Git says of one that is away",
        Way::Redirect,
        "http://Operation-timed-out.example/Recv-failure",
    ),
];

pub(super) fn cases() -> Vec<Case> {
    let control = "the source of a message decides, and not its text: fetch_failed";
    TRIED.iter().map(|(name, tried, ..)| case(name, tried, control)).collect()
}

fn packet(payload: &[u8]) -> Vec<u8> {
    [format!("{:04x}", payload.len() + 4).as_bytes(), payload].concat()
}

fn http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Whether the server resets the connection after its answer.
pub(super) fn resets(path: &str) -> bool {
    let name = path.split('/').nth(1).unwrap_or_default();
    TRIED.iter().any(|(known, _, way, _)| *known == name && matches!(way, Way::ErrorAndReset))
}

/// The answers of the server, by path.
pub(super) fn answers(port: u16) -> HashMap<String, Vec<u8>> {
    let mut all = HashMap::new();
    for (name, _, way, words) in TRIED {
        let words = words.replace("{url}", &address(port, name));
        let service = [packet(b"# service=git-upload-pack\n"), b"0000".to_vec()].concat();
        let list =
            |rest: &[u8]| http("200 OK", "application/x-git-upload-pack-advertisement", &[&service, rest].concat());
        let first = match way {
            Way::Error | Way::ErrorAndReset => list(&packet(format!("ERR {words}").as_bytes())),
            Way::Raw => list(words.as_bytes()),
            Way::Body(status) => http(status, "text/plain", words.as_bytes()),
            Way::Redirect => {
                format!("HTTP/1.1 302 Found\r\nLocation: {words}\r\nContent-Length: 0\r\n\r\n").into_bytes()
            }
            Way::Messages => {
                let commit = "a".repeat(40);
                let head = format!("{commit} HEAD\0side-band-64k ofs-delta shallow allow-tip-sha1-in-want\n");
                let main = format!("{commit} refs/heads/main\n");
                let banded = |band: u8, text: &str| packet(&[&[band][..], text.as_bytes()].concat());
                let pack = [packet(b"NAK\n"), banded(2, &words), banded(2, &words), banded(3, &words)].concat();
                let shallow = [packet(format!("shallow {commit}\n").as_bytes()), b"0000".to_vec()].concat();
                let kind = "application/x-git-upload-pack-result";
                all.insert(format!("/{name}/git-upload-pack"), http("200 OK", kind, &shallow));
                let whole = [shallow, pack].concat();
                all.insert(format!("/{name}/git-upload-pack#done"), http("200 OK", kind, &whole));
                list(&[packet(head.as_bytes()), packet(main.as_bytes()), b"0000".to_vec()].concat())
            }
        };
        all.insert(format!("/{name}/info/refs"), first);
    }
    all
}

fn address(port: u16, name: &str) -> String {
    format!("http://127.0.0.1:{port}/{name}")
}

pub(super) async fn run(context: &AttackContext) {
    let all = TRIED.iter().map(async |(name, ..)| {
        let id = id(name);
        if context.wants(&id) {
            let outcome = one(context, &id, name).await.unwrap_or_else(CaseOutcome::Inconclusive);
            context.record(&id, outcome);
        }
    });
    futures_util::future::join_all(all).await;
}

async fn one(context: &AttackContext, id: &str, name: &str) -> Result<CaseOutcome, String> {
    let form = Form::new()
        .text("template", "script")
        .text("user", id.to_owned())
        .text("repository_url", address(context.outside.forge_port, name))
        .text("ref", "main");
    let answer = context.send(context.request(Method::POST, "/v1/submissions").multipart(form)).await?;
    let Some(run) = answer.body["run"]["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()) else {
        return Err(format!("the submission was not accepted: {}", answer.summary()));
    };
    context.assign_run(run, &[id.to_owned()]);
    let ended = context.ended(run).await?;
    Ok(trial::assess(&ended, Expectation::Fails(&[FailureCode::FetchFailed])))
}
