//! The head of a request to the warden's proxy: `CONNECT`, or an absolute address.
//!
//! The first two bytes of the input are the length of the first piece that the parser gets: the answer must not depend on
//! it. A head that the parser accepts must mean the same to another parser (httparse, which hyper uses), before and after
//! the proxy rewrites it for an origin server, and the worker must receive the host that the head names.

#![no_main]

use assize::egress::Host;
use assize_protocol::egress::{FromCell, MAX_HOST};
use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../warden/src/proxy/head.rs"]
mod head;

use head::{MAX_HEAD, Parsed, Request, parse};

/// Header lines that the parser accepts, and the one line that the proxy adds.
const LINES: usize = 101;

/// The reading of httparse: length of the head, method, target, and the names of the header lines.
fn read(bytes: &[u8]) -> (usize, String, String, Vec<String>) {
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    let mut request = httparse::Request::new(&mut lines);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        other => panic!("httparse returns {other:?} for {}", bytes.escape_ascii()),
    };
    let names = request.headers.iter().map(|line| line.name.to_ascii_lowercase()).collect();
    (length, request.method.unwrap_or_default().into(), request.path.unwrap_or_default().into(), names)
}

fn check(bytes: &[u8], request: &Request) {
    let Request { host, port, forward, is_tunnel, length } = request;
    assert!((1..=MAX_HOST).contains(&host.len()) && *port > 0 && *length <= MAX_HEAD);
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._[]:".contains(&byte);
    assert!(host.bytes().all(is_plain), "{host:?}");
    let (seen, method, target, _) = read(bytes);
    assert_eq!((seen, method == "CONNECT"), (*length, *is_tunnel));

    // The plainest form of the same request has the same host and port.
    let again = format!("CONNECT {host}:{port} HTTP/1.1\r\n\r\n");
    match parse(again.as_bytes()) {
        Parsed::Whole(again) => assert_eq!((&again.host, again.port), (host, *port)),
        other => panic!("{again:?}: {other:?}"),
    }

    if *is_tunnel {
        assert!(forward.is_empty());
    } else {
        let (forwarded, same_method, path, names) = read(forward);
        assert_eq!((forwarded, &same_method), (forward.len(), &method), "nothing is smuggled behind it");
        assert!(path.starts_with('/') && target.ends_with(path.trim_start_matches('/')), "{target} became {path}");
        assert_eq!(names.iter().filter(|name| *name == "connection").count(), 1);
        let ours = ["proxy-connection", "proxy-authorization", "proxy-authenticate", "keep-alive", "te", "upgrade"];
        assert!(!names.iter().any(|name| ours.contains(&name.as_str())), "{names:?}");
    }

    let open = FromCell::Open { id: 7, stage: 1, at_us: 2, port: *port, host: host.clone() };
    let mut payload = Vec::new();
    open.encode(&mut payload);
    assert_eq!(FromCell::decode(&payload), Some(open));
    // What the worker takes it for has one form.
    if let Ok(host) = Host::parse(host) {
        assert_eq!(Host::parse(&host.to_string()).as_ref(), Ok(&host));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let whole = parse(bytes);
    let part = bytes.get(..usize::from(u16::from_le_bytes(*cut))).unwrap_or(bytes);
    match (parse(part), &whole) {
        (Parsed::Unfinished, Parsed::Unfinished | Parsed::Bad(_)) | (Parsed::Bad(_), Parsed::Bad(_)) => {}
        (Parsed::Unfinished, Parsed::Whole(request)) => assert!(part.len() < request.length),
        (part, whole) => assert_eq!(&part, whole, "a part was taken for another request"),
    }
    match whole {
        Parsed::Unfinished => assert!(bytes.len() < MAX_HEAD),
        Parsed::Bad(reason) => assert!(!reason.is_empty()),
        Parsed::Whole(request) => check(bytes, &request),
    }
});
