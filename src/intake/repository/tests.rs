use proptest::prelude::*;

use super::*;

const ANY: Allowed<'static> = Allowed { hosts: "*", private: "" };
const SCHOOL: Allowed<'static> =
    Allowed { hosts: "github.com *.school.edu git.corp:8443, 127.0.0.1:8080", private: "127.0.0.1:8080 git.corp" };

fn code(url: &str, reference: &str, allowed: Allowed<'_>) -> &'static str {
    check(url, reference, allowed).map_or_else(|problem| problem.code(), |_| "fine")
}

#[test]
fn the_addresses_that_people_clone_by_are_fine() {
    for (url, host, port) in [
        ("https://github.com/octo/hello-world", "github.com", 443),
        ("https://GitHub.com/octo/hello-world.git", "github.com", 443),
        ("https://git.sr.ht/~user/project", "git.sr.ht", 443),
        ("https://gitlab.example.org/group/sub_group/it+s.git/", "gitlab.example.org", 443),
    ] {
        let found = check(url, "main", ANY).unwrap();
        assert_eq!((found.url.as_str(), found.host.as_str(), found.port), (url, host, port));
    }
    for reference in ["main", "HEAD", "refs/heads/main", "v1.0", "feature/x#1", "løsning", &"a".repeat(40), "tag"] {
        assert_eq!(code("https://github.com/a/b", reference, ANY), "fine", "{reference}");
    }
}

/// FAILURES 23, 24 and the hostile list "Git and call-backs": each is refused with its own reason.
#[test]
fn an_address_that_means_more_than_a_repository_is_refused() {
    let long = format!("https://a.b/{}", "x".repeat(MAX_URL));
    for (url, reason) in [
        ("ext::sh%20-c%20id", "scheme"),
        ("ext::sh -c id", "character"),
        ("fd::17", "scheme"),
        ("file:///etc", "scheme"),
        ("file::/etc", "scheme"),
        ("/etc", "scheme"),
        ("git://a.b/c", "scheme"),
        ("ssh://a.b/c", "scheme"),
        ("git@github.com:a/b.git", "scheme"),
        ("ftp://a.b/c", "scheme"),
        ("HTTPS://a.b/c", "scheme"),
        ("https::https://a.b/c", "scheme"),
        ("--upload-pack=touch /tmp/x", "character"),
        ("--upload-pack=id", "option"),
        ("-u", "option"),
        ("", "empty"),
        (&long, "too_long"),
        ("https://a.b/c\r\nHost: d", "character"),
        ("https://a.b/c\n", "character"),
        ("https://a.b/c\0", "character"),
        ("https://a.b/c d", "character"),
        ("https://a.b/ü", "character"),
        ("https://ü.b/c", "character"),
        ("https://user@a.b/c", "userinfo"),
        ("https://user:secret@a.b/c", "userinfo"),
        ("https://github.com@127.0.0.1/c", "userinfo"),
        ("https://github.com:443@127.0.0.1/c", "userinfo"),
        ("http://a.b/c", "plain_http"),
        ("https://127.0.0.1/c", "address_literal"),
        ("https://127.1/c", "address_literal"),
        ("https://2130706433/c", "address_literal"),
        ("https://017700000001/c", "address_literal"),
        ("https://0177.0.0.1/c", "address_literal"),
        ("https://0x7f000001/c", "address_literal"),
        ("https://0x7f.0.0.0x1/c", "address_literal"),
        ("https://0x/c", "address_literal"),
        ("https://a.b.0X1/c", "address_literal"),
        ("https://127.0.0.1./c", "address_literal"),
        ("https://169.254.169.254/latest/meta-data", "address_literal"),
        ("https://[::1]/c", "address_literal"),
        ("https://[::ffff:127.0.0.1]/c", "address_literal"),
        ("https://[fe80::1%25eth0]/c", "address_literal"),
        ("https:///c", "host"),
        ("https://localhost/c", "host"),
        ("https://evil.localhost/c", "host"),
        ("https://postgres/c", "host"),
        ("https://a.b./c", "host"),
        ("https://a..b/c", "host"),
        ("https://-a.b/c", "host"),
        ("https://a_b.c/d", "host"),
        ("https://a%2eb.c/d", "host"),
        ("https://a.b\\c.d/e", "host"),
        ("https://a.b?x/c", "host"),
        ("https://a.b#x/c", "host"),
        ("https://a.b:/c", "port"),
        ("https://a.b:0/c", "port"),
        ("https://a.b:+1/c", "port"),
        ("https://a.b:0443/c", "port"),
        ("https://a.b:65536/c", "port"),
        ("https://a.b:443:443/c", "port"),
        ("https://a.b", "path"),
        ("https://a.b/", "path"),
        ("https://a.b/c?service=x", "path"),
        ("https://a.b/c#x", "path"),
        ("https://a.b/%2e%2e/c", "path"),
        ("https://a.b/../c", "path"),
        ("https://a.b/c/./d", "path"),
        ("https://a.b//c", "path"),
        ("https://a.b/c;id", "path"),
        ("https://a.b/$(id)", "path"),
        ("https://a.b/c\\d", "path"),
        ("https://a.b:8443/c", "not_allowed"),
    ] {
        assert_eq!(code(url, "main", ANY), reason, "{url:?}");
    }
}

#[test]
fn a_ref_that_means_more_than_a_name_is_refused() {
    for reference in ["..", "a..b", ".a", "a/.b", "a/", "/a", "a//b", "a.", "a.lock", "a.lock/b", "@", "a@{1}", "+main"]
    {
        assert_eq!(code("https://a.b/c", reference, ANY), "ref", "{reference:?}");
    }
    for reference in ["a:b", "^a", "a~1", "a b", "a\r", "a\n", "a\0", "a?", "a*", "[a", "a\\b", "a\u{7f}", "\u{202e}a"]
    {
        assert_eq!(code("https://a.b/c", reference, ANY), "character", "{reference:?}");
    }
    assert_eq!(code("https://a.b/c", "--exec=id", ANY), "option");
    assert_eq!(code("https://a.b/c", "", ANY), "empty");
    assert_eq!(code("https://a.b/c", &"a".repeat(MAX_REF + 1), ANY), "too_long");
}

#[test]
fn only_listed_hosts_are_fetched_from_and_private_ones_must_be_listed_twice() {
    for (url, seen) in [
        ("https://github.com/a/b", "fine"),
        ("https://www.github.com/a/b", "not_allowed"),
        ("https://github.com.evil.org/a/b", "not_allowed"),
        ("https://github.com:8443/a/b", "not_allowed"),
        ("https://git.school.edu/a/b", "fine"),
        ("https://school.edu/a/b", "not_allowed"),
        ("https://evilschool.edu/a/b", "not_allowed"),
        ("https://git.corp:8443/a/b", "fine"),
        ("http://git.corp:8443/a/b", "fine"),
        ("https://git.corp/a/b", "not_allowed"),
        ("http://127.0.0.1:8080/a/b", "fine"),
        ("http://127.0.0.1:8081/a/b", "address_literal"),
        ("http://github.com/a/b", "plain_http"),
    ] {
        assert_eq!(code(url, "main", SCHOOL), seen, "{url}");
    }
    assert_eq!(code("https://github.com/a/b", "main", Allowed { hosts: " ,", private: "" }), "off");
    let only_private = Allowed { hosts: "*", private: "127.0.0.1:8080" };
    assert_eq!(code("http://127.0.0.1:8080/a/b", "main", only_private), "not_allowed");
}

proptest! {
    /// Whatever passes is what it seems: a scheme, a name, a path, and nothing that ends a word.
    #[test]
    fn what_passes_is_plain(url in "https?://[ -~]{0,40}/[ -~]{0,40}", reference in "[ -~]{0,20}") {
        if let Ok(found) = check(&url, &reference, ANY) {
            let rest = found.url.strip_prefix("https://").unwrap();
            let (host, path) = rest.split_once('/').unwrap();
            let host = host.strip_suffix(":443").unwrap_or(host);
            prop_assert!(host.eq_ignore_ascii_case(&found.host), "{host}");
            prop_assert!(found.host.parse::<std::net::IpAddr>().is_err());
            prop_assert!(!path.contains(['%', '?', '#', '@', '\\', ' ', ':', ';', '&', '$', '\'', '"', '`']));
            prop_assert!(!found.reference.starts_with(['-', '+']) && !found.reference.contains([':', ' ']));
        }
    }
}
