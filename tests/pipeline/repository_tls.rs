//! Repositories over TLS: whose certificate is taken, and how a fetch ends where it is not.

use std::time::Duration;

use assize_host::clock::Stopwatch;
use futures_util::future::join_all;

use crate::authority::Authority;
use crate::forge::Forge;
use crate::harness::{id_of, json};
use crate::repository::{run, submit};
use crate::site::{Setup, Site, failure, message};

/// A site that may fetch from these, with an authority besides those of its image.
fn site(forges: &[&Forge], authority: Option<&Authority>) -> (Site, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let hosts = forges.iter().map(|forge| forge.host.as_str()).collect::<Vec<_>>().join(" ");
    let mut settings = vec![("git_hosts", hosts.clone()), ("egress_private_hosts", hosts)];
    if let Some(authority) = authority {
        let path = folder.path().join("authorities.pem");
        std::fs::write(&path, &authority.pem).unwrap();
        settings.push(("extra_ca_file", path.display().to_string()));
    }
    (Site::start(Setup { settings, ..Setup::default() }), folder)
}

#[tokio::test]
async fn a_repository_comes_over_tls_from_a_host_whose_authority_the_operator_named() {
    let ours = Authority::new();
    let good = Forge::start_tls(ours.server("127.0.0.1"));
    let refused = [
        (Forge::start_tls(ours.server("elsewhere.example")), "does not match target host name"),
        (Forge::start_tls(ours.server_until("127.0.0.1", 2020)), "certificate verification failed"),
    ];
    let forges: Vec<&Forge> = std::iter::once(&good).chain(refused.iter().map(|(forge, _)| forge)).collect();
    let (site, _folder) = site(&forges, Some(&ours));
    let commit = good.repository("a.git", &[("run.sh", "echo judged")]);
    let (submission, ended) = run(&site, &good.url("a.git"), "main").await;
    assert_eq!((ended["score"].as_f64(), ended["attempt"].as_i64()), (Some(1.0), Some(1)), "{ended}");
    assert_eq!(submission["source"]["commit"], commit.as_str());
    assert_eq!(site.text(id_of(&ended), "&stage=tests").await, "judged\n");

    join_all(refused.iter().map(async |(forge, why)| {
        forge.repository("a.git", &[("run.sh", "exit 0")]);
        is_not_trusted(&site, forge, why).await;
    }))
    .await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_ends_the_fetch_and_blames_no_project() {
    let forge = Forge::start_tls(Authority::new().server("127.0.0.1"));
    let (site, _folder) = site(&[&forge], None);
    forge.repository("a.git", &[("run.sh", "exit 0")]);
    is_not_trusted(&site, &forge, "certificate verification failed").await;
    let next = site.run("script", &[("run.sh", "exit 0")]).await;
    assert_eq!(next["score"], 1.0, "the worker goes on: {next}");
}

#[tokio::test]
async fn a_host_that_never_agrees_on_tls_is_an_outage_and_no_project_is_blamed() {
    let forge = Forge::start_mute();
    let (site, _folder) = site(&[&forge], None);
    let (_, run) = submit(&site, &forge.url("a.git"), "main").await;
    let begun = Stopwatch::start();
    let waited = site.get(&format!("/v1/runs/{run}?wait=25")).send().await.unwrap();
    assert_eq!(json(waited).await["attempt"], 1, "the host gets its 30 s");
    let first = async || site.events(run).await.into_iter().find(|(_, _, code)| code.is_some());
    site.until("the first attempt ends", async || first().await.is_some()).await;
    assert_eq!(first().await, Some((1, "queued".to_owned(), Some("network_error".to_owned()))));
    // Other connections are left alone for a minute, which for three attempts is too long.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
    // The other attempts would only take as long.
    site.cancel(run).await;
    assert_eq!(site.ended(run).await["status"], "aborted");
}

/// Tried as often as any outage, and then over, with words for the operator.
async fn is_not_trusted(site: &Site, forge: &Forge, why: &str) {
    let (submission, run) = run(site, &forge.url("a.git"), "main").await;
    assert_eq!(failure(&run), ("failed", "network_error", "infrastructure"), "{run}");
    assert_eq!((run["attempt"].as_i64(), &run["failure"]["evidence"]["stage"]), (Some(3), &"fetch".into()), "{run}");
    let told = message(&run);
    assert!(told.contains("is not trusted") && told.contains(why) && told.contains("extra_ca_file"), "{told}");
    assert!(submission["archive_sha256"].is_null() && submission["source"]["commit"].is_null(), "{submission}");
}
