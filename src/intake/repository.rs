//! Addresses of Git repositories, held to the few that are fetched.
//!
//! An address ends up on a command line, in a proxy's rules and in a client that knows many more forms
//! of it than we want: `ext::` runs a program, `file://` reads the host, a dash begins an option, and an
//! IP address has a dozen spellings of which each parser knows others. So nothing is normalised here and
//! nothing is looked up: what is not plainly `https://name[:port]/path` is refused, by name. Whether the
//! name leads to an address that may be dialled is asked later, of the very address that is dialled.

use std::fmt;

use assize_config::Config;

/// Bytes of an address; the column has the same limit. Browsers and servers stop at 2,000 to 8,000.
pub const MAX_URL: usize = 1024;

/// Bytes of a ref. Git's own are file names on the server: at most 255 a component.
pub const MAX_REF: usize = 255;

/// What is fetched if no ref is named: the repository's default branch.
pub const DEFAULT_REF: &str = "HEAD";

/// Which hosts may be named.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    /// `host`, `host:port`, `*.domain` or `*`, separated by spaces or commas; without a port, 443.
    pub hosts: &'a str,
    /// Those of them that may be addresses, single names, and spoken to without TLS: `host:port`.
    pub private: &'a str,
}

impl<'a> Allowed<'a> {
    /// As the settings say.
    #[must_use]
    pub fn from_config(config: &'a Config) -> Self {
        Self { hosts: &config.git_hosts, private: &config.egress_private_hosts }
    }
}

/// A repository and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// As it was given: `https://host[:port]/path`, or `http://` where that is allowed.
    pub url: String,
    /// In lower case.
    pub host: String,
    pub port: u16,
    /// A branch, a tag, a full ref or a whole commit.
    pub reference: String,
}

/// Why an address is refused: what was wrong, the limit, what was seen, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryProblem {
    #[error("this service fetches no repositories (git_hosts is empty)")]
    Off,
    #[error("{what} has {seen} bytes, the limit is {limit}")]
    TooLong { what: &'static str, limit: usize, seen: usize },
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} holds the character {seen:?}, which none may have")]
    Character { what: &'static str, seen: char },
    #[error("{what} begins with a dash, as options do")]
    Option { what: &'static str },
    #[error("the repository's address must begin with https:// (seen: {seen:?})")]
    Scheme { seen: String },
    #[error("{host} is not to be spoken to without TLS")]
    PlainHttp { host: String },
    #[error("the repository's address names a user or a password")]
    UserInfo,
    #[error("the repository's host {host:?} is an address and no name")]
    AddressLiteral { host: String },
    #[error("the repository's host {host:?} {why}")]
    Host { host: String, why: &'static str },
    #[error("the repository's port {seen:?} is not one of 1 to 65535")]
    Port { seen: String },
    #[error("the path in the repository's address {why}")]
    Path { why: &'static str },
    #[error("repositories are not fetched from {host}:{port}")]
    NotAllowed { host: String, port: u16 },
    #[error("the ref {reference:?} {why}")]
    Ref { reference: String, why: &'static str },
}

impl RepositoryProblem {
    /// What to do about it, as a sentence without its subject.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Off => "submit an archive",
            Self::TooLong { .. } => "use a shorter address or ref",
            Self::Empty { .. } => "leave the field out, or give it a value",
            Self::Character { .. } => "take the character out",
            Self::Option { .. } => "use a name that does not begin with a dash",
            Self::Scheme { .. } => "use the address for cloning over HTTPS",
            Self::PlainHttp { .. } => "use https://, or have it listed in egress_private_hosts",
            Self::UserInfo => "leave out what stands before the @",
            Self::AddressLiteral { .. } => "use the name of the host",
            Self::Host { .. } => "use a full name such as github.com",
            Self::Port { .. } => "leave the port out",
            Self::Path { .. } => "use the address for cloning over HTTPS",
            Self::NotAllowed { .. } => "ask for it to be listed in git_hosts",
            Self::Ref { .. } => "name a branch, a tag or a whole commit",
        }
    }

    /// A stable word for the problem, for the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::TooLong { .. } => "too_long",
            Self::Empty { .. } => "empty",
            Self::Character { .. } => "character",
            Self::Option { .. } => "option",
            Self::Scheme { .. } => "scheme",
            Self::PlainHttp { .. } => "plain_http",
            Self::UserInfo => "userinfo",
            Self::AddressLiteral { .. } => "address_literal",
            Self::Host { .. } => "host",
            Self::Port { .. } => "port",
            Self::Path { .. } => "path",
            Self::NotAllowed { .. } => "not_allowed",
            Self::Ref { .. } => "ref",
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.url, self.reference)
    }
}

/// Holds an address and a ref to what is fetched at all.
///
/// # Errors
/// The first [`RepositoryProblem`].
pub fn check(url: &str, reference: &str, allowed: Allowed<'_>) -> Result<Repository, RepositoryProblem> {
    if entries(allowed.hosts).next().is_none() {
        return Err(RepositoryProblem::Off);
    }
    const WHAT: &str = "the repository's address";
    check_text(WHAT, url, MAX_URL, |seen| seen.is_ascii_graphic())?;
    let scheme = || RepositoryProblem::Scheme { seen: url.chars().take(32).collect() };
    let (is_secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(scheme()),
    };
    let (authority, path) = rest.split_once('/').ok_or(RepositoryProblem::Path { why: "is missing" })?;
    let (host, port) = split_authority(authority, if is_secure { 443 } else { 80 })?;
    let is_private = entries(allowed.private).any(|entry| is_named(entry, &host, port, None));
    if !is_private {
        check_host(&host)?;
        if !is_secure {
            return Err(RepositoryProblem::PlainHttp { host });
        }
    }
    check_path(path)?;
    let default = if is_secure { 443 } else { 80 };
    if !entries(allowed.hosts).any(|entry| is_named(entry, &host, port, Some(default))) {
        return Err(RepositoryProblem::NotAllowed { host, port });
    }
    check_ref(reference)?;
    Ok(Repository { url: url.to_owned(), host, port, reference: reference.to_owned() })
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split([' ', ',', '\t', '\n']).filter(|entry| !entry.is_empty())
}

/// Whether an entry of a list names this host and port. An entry without a port means `default`, or any.
fn is_named(entry: &str, host: &str, port: u16, default: Option<u16>) -> bool {
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, digits.parse().ok())
        }
        _ => (entry, default.or(Some(port))),
    };
    if wanted != Some(port) {
        return false;
    }
    // A wildcard stands for names of the public kind, never for what must be listed as private.
    match name.strip_prefix('*') {
        Some("") => check_host(host).is_ok(),
        Some(domain) => {
            check_host(host).is_ok() && domain.starts_with('.') && host.ends_with(&domain.to_ascii_lowercase())
        }
        None => name.eq_ignore_ascii_case(host),
    }
}

/// Not empty, not too long, no option, and of nothing but characters that it may have.
fn check_text(
    what: &'static str,
    text: &str,
    limit: usize,
    may_have: impl Fn(char) -> bool,
) -> Result<(), RepositoryProblem> {
    if text.is_empty() {
        return Err(RepositoryProblem::Empty { what });
    }
    if text.len() > limit {
        return Err(RepositoryProblem::TooLong { what, limit, seen: text.len() });
    }
    if let Some(seen) = text.chars().find(|seen| !may_have(*seen)) {
        return Err(RepositoryProblem::Character { what, seen });
    }
    if text.starts_with('-') {
        return Err(RepositoryProblem::Option { what });
    }
    Ok(())
}

fn split_authority(authority: &str, default: u16) -> Result<(String, u16), RepositoryProblem> {
    if authority.contains('@') {
        return Err(RepositoryProblem::UserInfo);
    }
    if authority.contains(['[', ']']) {
        return Err(RepositoryProblem::AddressLiteral { host: authority.to_owned() });
    }
    let (host, port) = match authority.split_once(':') {
        None => (authority, default),
        Some((host, digits)) => {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
            let port = digits.parse().ok().filter(|port| plain && *port > 0);
            (host, port.ok_or_else(|| RepositoryProblem::Port { seen: digits.to_owned() })?)
        }
    };
    if host.is_empty() {
        return Err(RepositoryProblem::Host { host: String::new(), why: "is missing" });
    }
    Ok((host.to_ascii_lowercase(), port))
}

/// A name of the domain name system, of two labels or more, that no resolver takes for an address:
/// those look at the last label (`127.1`, `0x7f.1`, `2130706433`, `017700000001`).
fn check_host(host: &str) -> Result<(), RepositoryProblem> {
    let wrong = |why| Err(RepositoryProblem::Host { host: host.to_owned(), why });
    let last = host.rsplit('.').find(|label| !label.is_empty()).unwrap_or_default();
    let is_hex = last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_hex || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RepositoryProblem::AddressLiteral { host: host.to_owned() });
    }
    if host.len() > 253 {
        return wrong("has more than 253 characters");
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.split('.').all(is_label) {
        return wrong("is not a name as the domain name system has them");
    }
    if !host.contains('.') || host.ends_with(".localhost") {
        return wrong("is a name of this network only");
    }
    Ok(())
}

/// What is left out are the characters that servers, shells and proxies read something into, escapes with
/// them: no repository needs them.
fn check_path(path: &str) -> Result<(), RepositoryProblem> {
    let wrong = |why| Err(RepositoryProblem::Path { why });
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return wrong("is missing");
    }
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._~+-".contains(&byte)) {
        return wrong("holds a character other than letters, digits and / . _ ~ + -");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return wrong("has an empty component, or one that is . or ..");
    }
    Ok(())
}

/// The rules of `git check-ref-format --allow-onelevel`; what an argument to `git fetch` could mean beyond
/// a name (`+`, `^`, `:`) is refused by them or here.
fn check_ref(reference: &str) -> Result<(), RepositoryProblem> {
    let plain = |seen: char| match seen {
        '~' | '^' | ':' | '?' | '*' | '[' | '\\' => false,
        ascii if ascii.is_ascii() => ascii.is_ascii_graphic(),
        other => other.is_alphanumeric(),
    };
    check_text("the ref", reference, MAX_REF, plain)?;
    let wrong = |why| Err(RepositoryProblem::Ref { reference: reference.to_owned(), why });
    if reference.starts_with('+') {
        return wrong("begins with a plus");
    }
    if reference == "@" || reference.contains("@{") || reference.contains("..") || reference.ends_with('.') {
        return wrong("is not a name as Git has them");
    }
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    if !reference.split('/').all(is_part) {
        return wrong("has a component that is empty, begins with a dot or ends with .lock");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
