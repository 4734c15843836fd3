//! Slow clients. The cases wait for the service's own timeouts and run at the same time as all others.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{bytes, case, id};
use crate::case::{Case, CaseOutcome};
use crate::context::AttackContext;
use assize_host::clock::Stopwatch;

/// Shortest time of a slow connection: if it ended sooner, it was not closed for being slow.
const AT_LEAST: Duration = Duration::from_secs(2);

/// Name, what is tried, control, seconds within which the service must close the connection: its timeout plus a margin
/// for a host under attack.
const ALL: &[(&str, &str, &str, u64)] = &[
    ("slow-nothing", "connects and sends nothing", "the time for a head", 20),
    ("slow-line", "stops in the middle of the request's line", "the time for a head", 20),
    ("slow-head", "sends a byte of a header every second", "the time for a head", 20),
    ("slow-idle", "keeps a connection open after its answer", "the time between requests", 20),
    ("slow-body", "announces a body and stops sending it", "the time between two pieces: 408", 45),
    ("broken-body", "breaks off in the middle of an upload", "the connection ends, and nothing is stored", 20),
    ("connections", "holds 300 connections with half a head each", "other clients are answered meanwhile", 20),
];

pub(super) fn cases() -> Vec<Case> {
    ALL.iter().map(|(name, tried, control, _)| case(name, tried, control)).collect()
}

pub(super) async fn run(context: &AttackContext) {
    let all = ALL.iter().filter(|(name, ..)| context.wants(&id(name))).map(async |(name, _, _, limit_s)| {
        let limit = Duration::from_secs(*limit_s);
        let outcome = match *name {
            "connections" => crowd(context, limit).await,
            name => one(context, name, limit).await,
        };
        context.record(&id(name), outcome.unwrap_or_else(CaseOutcome::Inconclusive));
    });
    futures_util::future::join_all(all).await;
}

fn half_upload(context: &AttackContext) -> String {
    format!(
        "POST /v1/submissions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-length: 100000\r\n\
         content-type: multipart/form-data; boundary=b\r\n\r\n\
         --b\r\ncontent-disposition: form-data; name=\"user\"\r\n\r\nada",
        context.target.key
    )
}

async fn one(context: &AttackContext, name: &str, limit: Duration) -> Result<CaseOutcome, String> {
    let mut socket = TcpStream::connect(context.target.address).await.map_err(|error| error.to_string())?;
    let begun = Stopwatch::start();
    let (mut reader, mut writer) = socket.split();
    let first = match name {
        "slow-nothing" => String::new(),
        "slow-line" => "GET /live".to_owned(),
        "slow-head" => "GET /livez HTTP/1.1\r\nhost: a\r\nx-slow: ".to_owned(),
        "slow-idle" => "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        _ => half_upload(context),
    };
    writer.write_all(first.as_bytes()).await.map_err(|error| error.to_string())?;
    if name == "broken-body" {
        writer.shutdown().await.map_err(|error| error.to_string())?;
    }
    let trickling = async {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        if name == "slow-head" {
            loop {
                tick.tick().await;
                if writer.write_all(b"x").await.is_err() {
                    break;
                }
            }
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    let ended = tokio::select! {
        // A reset is an end too.
        ended = tokio::time::timeout(limit, reader.read_to_end(&mut answer)) => Some(ended),
        () = trickling => None,
    };
    let how = match &ended {
        Some(Ok(Err(error))) => format!(" ({error})"),
        _ => String::new(),
    };
    let ended = matches!(ended, Some(Ok(_)));
    let took = begun.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).unwrap_or("no answer").to_owned();
    let seen = format!("ended after {took:.1} s, {status}{how}");
    if ended && begun.elapsed() < AT_LEAST && name != "broken-body" {
        return Err(format!("nothing was slow: {seen}"));
    }
    let is_right = match name {
        "slow-body" => status == "408",
        "slow-idle" => status == "200",
        _ => true,
    };
    Ok(CaseOutcome::contained_if(ended && is_right, if ended { seen } else { format!("still open after {took:.0} s") }))
}

/// Sends many incomplete heads at once; one honest request must still be answered.
async fn crowd(context: &AttackContext, limit: Duration) -> Result<CaseOutcome, String> {
    /// Number of connections: below the usual limit of 1,024 open files on both sides, with a margin for everything
    /// else.
    const CROWD: usize = 300;
    let mut held = Vec::new();
    for _ in 0..CROWD {
        match TcpStream::connect(context.target.address).await {
            Ok(mut socket) => {
                socket.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.ok();
                held.push(socket);
            }
            // A service that refuses further connections has a limit of its own.
            Err(_) => break,
        }
    }
    let begun = Stopwatch::start();
    let answered = tokio::time::timeout(limit, bytes::ready(context)).await;
    let took = begun.elapsed().as_millis();
    Ok(match answered {
        Ok(Ok(())) => {
            CaseOutcome::Contained(format!("/readyz answered in {took} ms beside {} connections", held.len()))
        }
        Ok(Err(why)) => CaseOutcome::Escaped(why),
        Err(_) => CaseOutcome::Escaped(format!("no answer within {} s", limit.as_secs())),
    })
}
