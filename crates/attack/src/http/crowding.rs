//! More connections than the service accepts, from few addresses or many, and guessed keys. Honest clients must be
//! answered meanwhile.
//!
//! These cases run after the slow requests, whose incomplete heads the service would close in favour of new
//! connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{case, id};
use crate::case::{Case, CaseOutcome};
use crate::context::AttackContext;
use assize_domain::key;
use assize_domain::key::KeyRole;
use assize_host as host;
use assize_store::keys::NewKey;

/// Connections of one case: more than the 4,096 that the service accepts, and more than 1,024 from each of five
/// addresses.
const CROWD: usize = 5_150;

/// Open files that these cases need, with a margin for everything else.
const FILES: u64 = 6_500;

/// Smallest number of rounds of honest requests during a case.
const ROUNDS: usize = 30;

/// Pause between two rounds.
const BETWEEN: Duration = Duration::from_millis(50);

/// The longest time that an honest request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// Number of wrong keys before a right one: more than an address may send in a minute.
const GUESSES: usize = 90;

const HALF: &str = "GET /v1/runs HTTP/1.1\r\nhost: a\r\nx-half: ";
const UNREAD: &str = "GET /v1/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n";
const ANNOUNCED: &str = "POST /v1/submissions HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
const WHOLE: &str = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

/// The bytes that each connection sends, and the number of addresses (from 127.0.1.1 on).
const FLOODS: &[(&str, &str, &str, usize)] = &[
    ("crowd-half-heads", "holds 5,150 half-sent heads from five addresses, without a key", HALF, 5),
    ("crowd-half-heads-one", "holds 5,150 half-sent heads from one address", HALF, 1),
    ("crowd-half-heads-many", "holds 5,150 half-sent heads from 250 addresses", HALF, 250),
    ("crowd-nothing", "holds 5,150 connections from five addresses that send nothing", "", 5),
    ("crowd-unread", "holds 5,150 connections from five addresses whose answers are not read", UNREAD, 5),
    ("crowd-announced", "holds 5,150 connections from five addresses with bodies that never come", ANNOUNCED, 5),
    ("crowd-idle", "holds 5,150 idle connections from five addresses that were answered once", WHOLE, 5),
];

const CONTROL: &str =
    "at the limit the service first closes connections that wait for a head, of the address with the most of them";
const HEARD: &str = "a key is looked up however many wrong ones came from its address, two at a time";

pub(super) fn cases() -> Vec<Case> {
    let floods = FLOODS.iter().map(|(name, tried, ..)| case(name, tried, CONTROL));
    let guesses = [
        case("key-after-guesses", "sends 90 wrong keys, then a right one that was never seen, from one address", HEARD),
        case("key-beside-guesses", "sends wrong keys without a pause while others send right ones", HEARD),
    ];
    floods.chain(guesses).collect()
}

pub(super) async fn run(context: &AttackContext) {
    for (name, _, sent, addresses) in FLOODS {
        if context.wants(&id(name)) {
            let outcome = flood(context, sent, *addresses).await.unwrap_or_else(CaseOutcome::Inconclusive);
            context.record(&id(name), outcome);
        }
    }
    for (name, address, beside) in [("key-after-guesses", 8, false), ("key-beside-guesses", 9, true)] {
        if context.wants(&id(name)) {
            let outcome = guess(context, [127, 0, 0, address], beside).await.unwrap_or_else(CaseOutcome::Inconclusive);
            context.record(&id(name), outcome);
        }
    }
}

/// Opens a connection from this address.
async fn connect(context: &AttackContext, address: [u8; 4]) -> Result<TcpStream, String> {
    let connect = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::from(address), 0)))?;
        socket.connect(context.target.address).await
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, connect).await {
        Ok(connected) => connected.map_err(|error| format!("cannot connect: {error}")),
        Err(_) => Err(format!("cannot connect within {} s", REQUEST_TIMEOUT.as_secs())),
    }
}

/// Returns the status of one request; the connection stays open.
async fn ask(socket: &mut TcpStream, path: &str, key: Option<&str>) -> Result<u16, String> {
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let asked = async {
        socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{key}\r\n").as_bytes()).await?;
        let mut answer = vec![0; 128 * 1024];
        let length = socket.read(&mut answer).await?;
        answer.truncate(length);
        std::io::Result::Ok(answer)
    };
    let answer = match tokio::time::timeout(REQUEST_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| format!("{path}: {error}"))?,
        Err(_) => return Err(format!("{path}: no answer within {} s", REQUEST_TIMEOUT.as_secs())),
    };
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| format!("{path}: the connection was closed without an answer"))
}

async fn answered(socket: &mut TcpStream, path: &str, key: Option<&str>) -> Result<(), String> {
    match ask(socket, path, key).await? {
        200 => Ok(()),
        status => Err(format!("{path}: {status}")),
    }
}

async fn flood(context: &AttackContext, sent: &str, addresses: usize) -> Result<CaseOutcome, String> {
    let files = host::raise_open_files(FILES);
    if files < FILES {
        return Err(format!("this process may have {files} open files and needs {FILES}; raise ulimit -Hn"));
    }
    // The connection has authenticated before, from an address that takes part in the attack.
    let mut known = connect(context, [127, 0, 1, 1]).await?;
    answered(&mut known, "/v1/templates", Some(&context.target.key)).await?;
    let mut held = Vec::with_capacity(CROWD);
    let mut refused = 0;
    let mut crowd = futures_util::stream::iter(0..CROWD)
        .map(async |number| {
            let last = u8::try_from(1 + number % addresses).unwrap_or(1);
            let mut socket = connect(context, [127, 0, 1, last]).await.ok()?;
            socket.write_all(sent.as_bytes()).await.ok()?;
            if sent.ends_with("\r\n\r\n") {
                // One byte of the answer proves that the head of the request was complete.
                tokio::time::timeout(REQUEST_TIMEOUT, socket.readable()).await.ok()?.ok()?;
            }
            Some(socket)
        })
        .buffer_unordered(64);
    let is_crowded = AtomicBool::new(false);
    let crowding = async {
        while let Some(socket) = crowd.next().await {
            refused += usize::from(socket.is_none());
            held.extend(socket);
        }
        is_crowded.store(true, Ordering::Relaxed);
    };
    let honest = async {
        let (mut rounds, mut tick) = (0, tokio::time::interval(BETWEEN));
        // Only while the attack grows, because the service closes every connection that is idle for long.
        while rounds < ROUNDS || !is_crowded.load(Ordering::Relaxed) {
            tick.tick().await;
            rounds += 1;
            // Requests from another address without a key and with one, from an address that takes part, and on the old
            // connection.
            answered(&mut connect(context, [127, 0, 2, 1]).await?, "/livez", None).await?;
            answered(&mut connect(context, [127, 0, 2, 1]).await?, "/v1/templates", Some(&context.target.key)).await?;
            answered(&mut connect(context, [127, 0, 1, 1]).await?, "/v1/templates", Some(&context.target.key)).await?;
            answered(&mut known, "/v1/templates", Some(&context.target.key)).await?;
        }
        Ok::<_, String>(rounds)
    };
    let ((), beside) = tokio::join!(crowding, honest);
    let after = async {
        answered(&mut connect(context, [127, 0, 2, 1]).await?, "/livez", None).await?;
        answered(&mut known, "/v1/templates", Some(&context.target.key)).await
    };
    let seen = format!("{} connections made, {refused} refused", held.len());
    let after = after.await;
    Ok(match beside.and_then(|rounds| after.map(|()| rounds)) {
        Ok(rounds) => CaseOutcome::Contained(format!("{} honest requests answered, {seen}", rounds * 4 + 2)),
        Err(why) => CaseOutcome::Escaped(format!("an honest request was not answered: {why}; {seen}")),
    })
}

async fn new_key(context: &AttackContext) -> Result<String, String> {
    let as_text = |error: assize_store::StoreError| error.to_string();
    let minted = key::mint();
    let new = NewKey {
        id: minted.id,
        organization_id: context.store.ensure_organization("demo").await.map_err(as_text)?,
        role: KeyRole::Read,
        secret_sha256: &minted.secret_sha256,
        label: "attack",
        expires_at: None,
    };
    context.store.insert_key(new).await.map_err(as_text)?;
    Ok(minted.text().to_owned())
}

async fn guess(context: &AttackContext, address: [u8; 4], beside: bool) -> Result<CaseOutcome, String> {
    let one = async || ask(&mut connect(context, address).await?, "/v1/templates", Some(key::mint().text())).await;
    let mut refused = 0;
    for _ in 0..GUESSES {
        refused += usize::from(one().await? == 429);
    }
    if refused == 0 {
        return Ok(CaseOutcome::Escaped(format!("{GUESSES} wrong keys were all looked at")));
    }
    let right = async || {
        let key = new_key(context).await?;
        ask(&mut connect(context, address).await?, "/v1/templates", Some(&key)).await
    };
    let received = async {
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(right().await?);
        }
        Ok::<_, String>(statuses)
    };
    let guesses = futures_util::stream::iter(0..if beside { 500 } else { 0 });
    let guessing = guesses.for_each_concurrent(50, async |_| {
        one().await.ok();
    });
    let (statuses, ()) = tokio::join!(received, guessing);
    let statuses = statuses?;
    let seen = format!("{refused} of {GUESSES} wrong keys refused with 429, right ones answered {statuses:?}");
    Ok(CaseOutcome::contained_if(statuses.iter().all(|status| *status == 200), seen))
}
