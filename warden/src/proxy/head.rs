//! The head of a proxy request: `CONNECT host:port`, or `GET http://host/path` and its like. Pure.
//!
//! It comes from the project, so it is read strictly: what is not plainly one of the two is refused,
//! and never guessed at. What it names is only carried on; the worker judges it.

use assize_protocol::egress::MAX_HOST;

/// The longest head, in bytes.
pub const MAX_HEAD: usize = 8 * 1024;

/// The most header lines.
const MAX_LINES: usize = 100;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub host: String,
    pub port: u16,
    /// What goes to the other end first: nothing for CONNECT, else the head as an origin wants it.
    pub forward: Vec<u8>,
    /// The client waits to be told that the connection is there.
    pub is_tunnel: bool,
    /// Bytes of the head; what comes after them is for the other end.
    pub length: usize,
}

/// What was made of the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    Unfinished,
    Whole(Request),
    /// In words for the client.
    Bad(&'static str),
}

/// Reads a head from the beginning of what a client has sent.
pub fn parse(bytes: &[u8]) -> Parsed {
    let window = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let Some(end) = window.windows(4).position(|four| four == b"\r\n\r\n") else {
        // Refused as early as can be seen.
        if let Some(bad) = window.iter().find(|byte| is_control(**byte)) {
            return Parsed::Bad(if *bad == 0 { "a NUL in the head" } else { "a control character in the head" });
        }
        return if bytes.len() >= MAX_HEAD { Parsed::Bad("the head is longer than 8 KiB") } else { Parsed::Unfinished };
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
            return Err("a control character in the head");
        }
        lines.push(line);
        if lines.len() > MAX_LINES + 1 {
            return Err("more than 100 header lines");
        }
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    let (first, headers) = lines.split_first().ok_or("there is no request line")?;
    for header in headers {
        check_header(header)?;
    }
    let first =
        std::str::from_utf8(first).ok().filter(|line| line.is_ascii()).ok_or("the request line is not ASCII")?;
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, version] = words.as_slice() else { return Err("the request line has not three words") };
    if !matches!(*version, "HTTP/1.1" | "HTTP/1.0") {
        return Err("only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    if method.is_empty() || method.len() > 20 || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err("the method is none");
    }
    if target.contains('\t') {
        return Err("a tab in the request line");
    }
    if *method == "CONNECT" {
        let (host, port) = authority(target, None)?;
        return Ok(Request { host, port, forward: Vec::new(), is_tunnel: true, length: 0 });
    }
    let (scheme, rest) = target.split_once("://").ok_or("a proxy wants CONNECT, or a whole address")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err("for https a proxy wants CONNECT");
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (named, path) = rest.split_at(end);
    if path.contains('#') {
        return Err("a fragment in the address");
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
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a header line without a colon")?;
    let name = line.get(..colon).unwrap_or_default();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return Err("a header's name is none");
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
        return Err("a user in the address");
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("an IPv6 address without its end")?;
        if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
            return Err("an IPv6 address that is none");
        }
        let port = match after {
            "" => None,
            after => Some(after.strip_prefix(':').ok_or("something behind the address")?),
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
            return Err("a host name that is none");
        }
        (host, port)
    };
    if host.len() > MAX_HOST {
        return Err("a host name longer than 253 bytes");
    }
    let port = match (port, usual) {
        (Some(digits), _) if (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_| "a port above 65535")?
        }
        (Some(_), _) => return Err("a port that is none"),
        (None, Some(usual)) => usual,
        (None, None) => return Err("no port"),
    };
    if port == 0 {
        return Err("port 0");
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
