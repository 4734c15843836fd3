//! Parser of the head of a proxy request: `CONNECT host:port`, or `GET http://host/path` and other methods. Pure.
//!
//! The project wrote the head, so the parser is strict: it refuses everything that is not plainly one of the two forms.
//! The parser only extracts host and port; the worker decides whether the stage may reach them.

use assize_protocol::egress::MAX_HOST;

/// The longest head, in bytes.
pub const MAX_HEAD: usize = 8 * 1024;

/// The most header lines.
const MAX_LINES: usize = 100;

/// The request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Host name or address, in lower case; an IPv6 address has brackets.
    pub host: String,
    /// Port, never 0.
    pub port: u16,
    /// Bytes to send to the host first: none for CONNECT, else the head rewritten for an origin server.
    pub forward: Vec<u8>,
    /// Whether the request is a CONNECT, whose client waits for the answer 200.
    pub is_tunnel: bool,
    /// Length of the head in bytes; the bytes after it are for the host.
    pub length: usize,
}

/// The result of parsing the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head is incomplete.
    Unfinished,
    /// The head is complete and valid.
    Whole(Request),
    /// The head is invalid; the reason is for the client.
    Bad(&'static str),
}

/// Reads a head from the beginning of what a client has sent.
pub fn parse(bytes: &[u8]) -> Parsed {
    let window = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let Some(end) = window.windows(4).position(|four| four == b"\r\n\r\n") else {
        // Refused as early as can be seen.
        if let Some(bad) = window.iter().find(|byte| is_control(**byte)) {
            return Parsed::Bad(if *bad == 0 {
                "NUL byte in the request head"
            } else {
                "control character in the request head"
            });
        }
        return if bytes.len() >= MAX_HEAD {
            Parsed::Bad("request head over the limit of 8 KiB")
        } else {
            Parsed::Unfinished
        };
    };
    let head = window.get(..end).unwrap_or_default();
    match read(head) {
        Ok(request) => Parsed::Whole(Request { length: end + 4, ..request }),
        Err(reason) => Parsed::Bad(reason),
    }
}

/// CR and LF are looked at line by line.
const fn is_control(byte: u8) -> bool {
    (byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n')) || byte == 0x7f
}

fn read(head: &[u8]) -> Result<Request, &'static str> {
    let mut lines = Vec::new();
    let mut rest = head;
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n");
        let (line, after) = match end {
            Some(end) => (rest.get(..end).unwrap_or_default(), rest.get(end + 2..)),
            None => (rest, None),
        };
        if line.iter().any(|byte| is_control(*byte) || matches!(byte, b'\r' | b'\n')) {
            return Err("control character in the request head");
        }
        lines.push(line);
        if lines.len() > MAX_LINES + 1 {
            return Err("over the limit of 100 header lines");
        }
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    let (first, headers) = lines.split_first().ok_or("missing request line")?;
    for header in headers {
        check_header(header)?;
    }
    let first = std::str::from_utf8(first).ok().filter(|line| line.is_ascii()).ok_or("request line is not ASCII")?;
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = words.as_slice() else {
        return Err("request line must have three words: method, target, version");
    };
    if !matches!(*version, "HTTP/1.1" | "HTTP/1.0") {
        return Err("unsupported version; use HTTP/1.0 or HTTP/1.1");
    }
    if method.is_empty() || method.len() > 20 || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err("invalid method");
    }
    if target.contains('\t') {
        return Err("tab in the request line");
    }
    if *method == "CONNECT" {
        let (host, port) = authority(target, None)?;
        return Ok(Request { host, port, forward: Vec::new(), is_tunnel: true, length: 0 });
    }
    let (scheme, rest) =
        target.split_once("://").ok_or("relative target; use CONNECT host:port or an absolute http:// address")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err("unsupported scheme; use CONNECT host:port for https");
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (named, path) = rest.split_at(end);
    if path.contains('#') {
        return Err("fragment in the address");
    }
    let (host, port) = authority(named, Some(80))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut forward = format!("{method} {slash}{path} {version}\r\n").into_bytes();
    for header in headers.iter().filter(|header| !is_for_the_proxy(header)) {
        forward.extend_from_slice(header);
        forward.extend_from_slice(b"\r\n");
    }
    // One request for each connection: the next may be for another host.
    forward.extend_from_slice(b"Connection: close\r\n\r\n");
    Ok(Request { host, port, forward, is_tunnel: false, length: 0 })
}

fn check_header(line: &[u8]) -> Result<(), &'static str> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("header line without a colon")?;
    let name = line.get(..colon).unwrap_or_default();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return Err("invalid header name");
    }
    Ok(())
}

fn is_for_the_proxy(line: &[u8]) -> bool {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let name = line.get(..colon).unwrap_or_default().to_ascii_lowercase();
    matches!(
        name.as_slice(),
        b"connection"
            | b"proxy-connection"
            | b"keep-alive"
            | b"proxy-authorization"
            | b"proxy-authenticate"
            | b"te"
            | b"upgrade"
    )
}

/// `host:port`, `[address]:port`; without a port if there is one that is usual.
fn authority(text: &str, usual: Option<u16>) -> Result<(String, u16), &'static str> {
    if text.contains('@') {
        return Err("user name in the address; leave it out");
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("IPv6 address without closing bracket")?;
        if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
            return Err("invalid IPv6 address");
        }
        let port = match after {
            "" => None,
            after => Some(after.strip_prefix(':').ok_or("unexpected text after the IPv6 address")?),
        };
        (text.get(..address.len() + 2).unwrap_or_default(), port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if host.is_empty()
            || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        {
            return Err("invalid host name");
        }
        (host, port)
    };
    if host.len() > MAX_HOST {
        return Err("host name over the limit of 253 bytes");
    }
    let port = match (port, usual) {
        (Some(digits), _) if (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_| "port above the limit of 65535")?
        }
        (Some(_), _) => return Err("invalid port"),
        (None, Some(usual)) => usual,
        (None, None) => return Err("missing port; use host:port"),
    };
    if port == 0 {
        return Err("port must not be 0");
    }
    Ok((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Parsed::Whole(request) => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn connect_names_a_host_and_a_port() {
        let request = whole("CONNECT Packages.Example:443 HTTP/1.1\r\nHost: packages.example:443\r\n\r\n\x16\x03");
        assert_eq!((request.host.as_str(), request.port, request.is_tunnel), ("packages.example", 443, true));
        assert_eq!((request.length, request.forward.len()), (69, 0));
        assert_eq!(whole("CONNECT [2001:db8::1]:443 HTTP/1.0\r\n\r\n").host, "[2001:db8::1]");
    }

    #[test]
    fn a_whole_address_becomes_what_an_origin_wants() {
        let request = whole(
            "GET http://packages.example:4873/a?b=c HTTP/1.1\r\nHost: packages.example:4873\r\nProxy-Connection: keep-alive\r\n\
             connection: Upgrade\r\nProxy-Authorization: Basic eA==\r\nAccept: */*\r\n\r\n",
        );
        assert_eq!((request.host.as_str(), request.port, request.is_tunnel), ("packages.example", 4873, false));
        let wanted = "GET /a?b=c HTTP/1.1\r\nHost: packages.example:4873\r\nAccept: */*\r\nConnection: close\r\n\r\n";
        assert_eq!(String::from_utf8(request.forward).unwrap(), wanted);
        assert_eq!(whole("GET http://a HTTP/1.1\r\n\r\n").port, 80);
        assert!(whole("GET http://a?q HTTP/1.1\r\n\r\n").forward.starts_with(b"GET /?q HTTP/1.1\r\n"));
    }

    #[test]
    fn what_is_not_plain_is_refused() {
        for line in [
            "CONNECT host HTTP/1.1",
            "CONNECT host:0 HTTP/1.1",
            "CONNECT host:65536 HTTP/1.1",
            "CONNECT host:+80 HTTP/1.1",
            "CONNECT host:080000 HTTP/1.1",
            "CONNECT host:80:80 HTTP/1.1",
            "CONNECT user@host:80 HTTP/1.1",
            "CONNECT ho%73t:80 HTTP/1.1",
            "CONNECT h\u{f6}st:80 HTTP/1.1",
            "CONNECT :80 HTTP/1.1",
            "CONNECT [::1:80 HTTP/1.1",
            "CONNECT [::1]80 HTTP/1.1",
            "CONNECT [host]:80 HTTP/1.1",
            "CONNECT  host:80 HTTP/1.1",
            "CONNECT host:80 HTTP/2",
            "CONNECT host:80",
            "connect host:80 HTTP/1.1",
            "GET / HTTP/1.1",
            "GET host/path HTTP/1.1",
            "GET https://host/ HTTP/1.1",
            "GET ftp://host/ HTTP/1.1",
            "GET http://user:secret@host/ HTTP/1.1",
            "GET http://host:/ HTTP/1.1",
            "GET http:///path HTTP/1.1",
            "GET http://host/#a HTTP/1.1",
            "GET http://host\\@other/ HTTP/1.1",
            "\u{7f} http://host/ HTTP/1.1",
            " CONNECT host:80 HTTP/1.1",
            "",
        ] {
            let seen = parse(format!("{line}\r\n\r\n").as_bytes());
            assert!(matches!(seen, Parsed::Bad(_)), "{line:?}: {seen:?}");
        }
        for header in ["no colon", " folded: line", "na me: x", ": x", "a: b\nc: d", "a: b\rc: d", "a: \0"] {
            let seen = parse(format!("CONNECT host:80 HTTP/1.1\r\n{header}\r\n\r\n").as_bytes());
            assert!(matches!(seen, Parsed::Bad(_)), "{header:?}: {seen:?}");
        }
        let many = "a: b\r\n".repeat(101);
        assert!(matches!(parse(format!("CONNECT host:80 HTTP/1.1\r\n{many}\r\n").as_bytes()), Parsed::Bad(_)));
        let name = "a".repeat(254);
        assert!(matches!(parse(format!("CONNECT {name}:80 HTTP/1.1\r\n\r\n").as_bytes()), Parsed::Bad(_)));
    }

    #[test]
    fn a_head_without_end_is_refused_at_its_limit_and_not_before() {
        let long = format!("CONNECT host:80 HTTP/1.1\r\nA: {}", "x".repeat(MAX_HEAD));
        assert_eq!(parse(&long.as_bytes()[..MAX_HEAD - 1]), Parsed::Unfinished);
        assert!(matches!(parse(long.as_bytes()), Parsed::Bad(_)));
        assert!(matches!(parse(b"\x16\x03\x01"), Parsed::Bad(_)), "TLS straight away");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            parse(&bytes);
        }

        #[test]
        fn nothing_near_a_request_makes_it_panic_or_smuggles_a_line(text in "(GET|CONNECT|PUT) [ -~]{0,60} HTTP/1.1\r\n([ -~\r\n]{0,20}\r\n){0,3}\r\n") {
            if let Parsed::Whole(request) = parse(text.as_bytes()) {
                prop_assert!(request.length <= text.len() && request.port > 0 && !request.host.is_empty());
                let ends = request.forward.windows(4).filter(|four| four == b"\r\n\r\n").count();
                prop_assert_eq!(ends, usize::from(!request.is_tunnel));
            }
        }

        /// A head that comes in pieces is read as one that comes whole.
        #[test]
        fn a_part_of_a_good_head_is_unfinished(cut in 0_usize..60) {
            let text = b"CONNECT packages.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n";
            let part = &text[..cut.min(text.len() - 1)];
            prop_assert_eq!(parse(part), Parsed::Unfinished);
        }
    }
}
