use super::*;

fn repository() -> Repository {
    let (url, reference) = ("https://a.b/c".to_owned(), "main".to_owned());
    Repository { url, host: "a.b".to_owned(), port: 443, reference }
}

fn classified(code: FailureCode, output: &str) -> (FailureCode, String) {
    classified_with(code, output, FetchEvidence::default())
}

fn classified_with(code: FailureCode, output: &str, evidence: FetchEvidence) -> (FailureCode, String) {
    let mut failure = Failure::new(code, "the fetch stage exited with code 128");
    failure.evidence.last_output = Some(output.to_owned());
    let Failure { code, evidence: found } =
        classify_failure(failure, &FetchEvidence { stderr_prefix: output.to_owned(), ..evidence });
    (code, found.message)
}

#[test]
fn a_warden_accepts_the_plan() {
    let plan = plan(&repository(), &Config::default());
    plan.check().unwrap();
    let env = &plan.stages[0].env;
    assert_eq!(
        (env["GIT_ALLOW_PROTOCOL"].as_str(), env["GIT_CONFIG_KEY_1"].as_str()),
        ("https", "protocol.https.allow")
    );
    assert!(env.contains_key(&format!("GIT_CONFIG_VALUE_{}", env["GIT_CONFIG_COUNT"].parse::<u32>().unwrap() - 1)));
    assert!(!env.contains_key(&format!("GIT_CONFIG_KEY_{}", env["GIT_CONFIG_COUNT"])));
    assert_eq!(plan.stages[0].command[3..], ["fetch", "https://a.b/c", "main"]);
}

/// The messages of Git for an unknown authority (and for a certificate that has expired), for another name, and of a
/// Git with OpenSSL.
#[test]
fn a_certificate_that_is_not_trusted_is_no_fault_of_the_repository() {
    for output in [
        "server certificate verification failed. CAfile: none CRLfile: none",
        "SSL: certificate subject name (a.b) does not match target host name 'c.d'",
        "SSL certificate problem: unable to get local issuer certificate",
    ] {
        let (code, why) =
            classified(FailureCode::FetchFailed, &format!("fatal: unable to access 'https://a.b/c/': {output}"));
        assert_eq!(code, FailureCode::NetworkError, "{output}");
        assert!(why.contains("is not trusted") && why.contains(output) && why.contains("extra_ca_file"), "{why}");
        assert_eq!(classified(FailureCode::FetchFailed, &format!("remote: {output}")).0, FailureCode::FetchFailed);
    }
}

/// FAILURES 30: an unavailable host is not the student's fault; a repository that does not exist is.
#[test]
fn only_a_host_that_could_not_be_reached_is_tried_again() {
    for output in [
        "fatal: unable to access 'https://a.b/c/': Empty reply from server",
        "fatal: unable to access 'https://a.b/c/': The requested URL returned error: 503",
        "warning: redirecting to https://a.b/d\nfatal: unable to access 'https://a.b/c/': Recv failure: reset",
        "error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502\nfatal: expected flush",
        "error: RPC failed; curl 28 Operation too slow. Less than 1024 bytes/sec\nfatal: early EOF",
    ] {
        assert_eq!(classified(FailureCode::FetchFailed, output).0, FailureCode::NetworkError, "{output}");
    }
    for output in [
        "fatal: repository 'https://a.b/c/' not found",
        "fatal: couldn't find remote ref main",
        "fatal: unable to access 'https://a.b/c/': Received HTTP code 403 from proxy after CONNECT",
        "fatal: unable to access 'https://a.b/c/': The requested URL returned error: 403",
        "remote: fatal: Connection reset\nfatal: couldn't find remote ref main",
        // A server can send all of this: its messages may contain line feeds and quote Git's reports of a host.
        "fatal: remote error: Could not resolve host: a.b",
        "fatal: remote error: x\nfatal: unable to access 'https://a.b/c/': Connection reset by peer",
        "fatal: remote error: x\nerror: RPC failed; curl 28 Operation timed out",
        "remote: x\nfatal: unable to access 'https://a.b/c/': server certificate verification failed",
        "fatal: protocol error: bad line length character: Recv failure",
        "fatal: invalid server response; got 'Operation timed out'",
        "fatal: couldn't find remote ref Connection reset",
        "fatal: unable to access 'https://a.b/c/': Protocol \"Recv failure\" not supported or disabled in libcurl",
        "error: RPC failed; curl 47 Maximum (20) redirects followed: Connection reset",
        "fetch: the files of a have 5 bytes together, the limit is 4",
        "",
    ] {
        assert_eq!(classified(FailureCode::FetchFailed, output).0, FailureCode::FetchFailed, "{output}");
    }
    let (code, why) = classified(FailureCode::OutOfMemory, "error: Connection reset");
    assert_eq!(code, FailureCode::FetchFailed, "the cell's own limits outrank Git's messages");
    assert!(why.ends_with("exited with code 128"), "{why}");
    let outage = || FetchEvidence { outage: Some("nobody answered".to_owned()), ..FetchEvidence::default() };
    let (code, why) = classified_with(FailureCode::FetchFailed, "fatal: 502", outage());
    assert_eq!(
        (code, why.as_str()),
        (FailureCode::NetworkError, "the repository's host could not be reached: nobody answered")
    );
    assert_eq!(classified_with(FailureCode::StageTimeout, "", outage()).0, FailureCode::FetchFailed);
    let stall =
        || FetchEvidence { stall: Some("it sent too little for too long".to_owned()), ..FetchEvidence::default() };
    let (code, why) = classified_with(FailureCode::FetchFailed, "fatal: early EOF", stall());
    assert!(code == FailureCode::NetworkError && why.contains("too little for too long"), "{why}");
    assert_eq!(classified_with(FailureCode::OutOfDisk, "", stall()).0, FailureCode::FetchFailed);
    // The host reset the connection after its answer.
    for output in
        ["fatal: remote error: no", "remote: no\nfatal: unable to access 'https://a.b/c/': returned error: 403"]
    {
        assert_eq!(classified_with(FailureCode::FetchFailed, output, stall()).0, FailureCode::FetchFailed, "{output}");
    }
    let spent = FetchEvidence { spent: Some(7), ..stall() };
    let (code, why) = classified_with(FailureCode::FetchFailed, "error: RPC failed; curl 56 Recv failure", spent);
    assert_eq!(code, FailureCode::FetchFailed);
    assert!(why.contains("more than 7 bytes"), "{why}");
    for code in FailureCode::ALL.iter().filter(|code| code.cause() == Cause::Infrastructure) {
        assert_eq!(classified(*code, "").0, *code, "a failure of the infrastructure stays one");
    }
    let (_, why) = classified(FailureCode::FetchFailed, "fatal: couldn't find remote ref main");
    assert_eq!(why, "the repository could not be fetched: couldn't find remote ref main");
}
