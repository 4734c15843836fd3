//! The template `node-web`: packages come through the tunnel.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use crate::egress::{Server, recorded};
use crate::harness::id_of;
use crate::site::{Setup, Site, failure, repository};

const BUILD: &str = include_str!("../../templates/node-web/sample/passing/build.js");

fn site(settings: &[(&'static str, String)]) -> Site {
    let mut settings = settings.to_vec();
    settings.push(("worker_slots", "2".to_owned()));
    Site::start(Setup { templates_dir: Some(repository("templates")), settings, ..Setup::default() })
}

/// The passing sample, which needs the package `name` to be built.
fn project(name: &str, version: &str) -> [(&'static str, String); 2] {
    let package = format!(
        r#"{{ "name": "site", "private": true, "version": "1.0.0", "type": "module",
              "scripts": {{ "build": "node build.js" }}, "dependencies": {{ "{name}": "{version}" }} }}"#
    );
    let build = format!(
        "import needed from '{name}';\nif (!needed(7)) throw new Error('a package that does nothing');\n{BUILD}"
    );
    [("package.json", package), ("build.js", build)]
}

/// A registry with one package.
fn registry() -> (Server, String) {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("package");
    std::fs::create_dir(&package).unwrap();
    let manifest = r#"{ "name": "tiny-truth", "version": "1.0.0", "main": "index.js" }"#;
    std::fs::write(package.join("package.json"), manifest).unwrap();
    std::fs::write(package.join("index.js"), "module.exports = () => true;\n").unwrap();
    let tarball = folder.path().join("tiny-truth.tgz");
    let packed = Command::new("tar").arg("-czf").arg(&tarball).arg("-C").arg(folder.path()).arg("package").status();
    assert!(packed.unwrap().success());
    let tarball = std::fs::read(tarball).unwrap();
    // The address of the tarball is the registry's own, whose port is known only once it listens.
    let known = |port: u16| {
        let about = format!(
            r#"{{ "name": "tiny-truth", "dist-tags": {{ "latest": "1.0.0" }}, "versions": {{ "1.0.0": {{
                "name": "tiny-truth", "version": "1.0.0", "main": "index.js",
                "dist": {{ "tarball": "http://127.0.0.2:{port}/tiny-truth/-/tiny-truth-1.0.0.tgz" }} }} }} }}"#
        );
        HashMap::from([
            ("/tiny-truth".to_owned(), about.into_bytes()),
            ("/tiny-truth/-/tiny-truth-1.0.0.tgz".to_owned(), tarball.clone()),
        ])
    };
    let server = Server::start_with(known);
    let address = format!("http://127.0.0.2:{}/", server.port);
    (server, address)
}

#[tokio::test]
async fn node_web_installs_from_a_registry_of_ones_own() {
    let (server, address) = registry();
    let named = format!("127.0.0.2:{}", server.port);
    let site = site(&[("npm_registry", address), ("egress_private_hosts", named)]);
    let project = project("tiny-truth", "^1.0.0");
    let files: Vec<_> = project.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let run = site.run("node-web", &files).await;
    let text = site.text(id_of(&run), "").await;
    assert_eq!((run["score"].as_f64(), run["max_score"].as_f64()), (Some(10.0), Some(10.0)), "{run} {text}");
    assert_eq!(site.verdict(id_of(&run)).await["integrity"], "isolated");
    let all = recorded(&site, id_of(&run)).await;
    assert!(!all.is_empty() && all.iter().all(|one| one["outcome"] == "closed"), "{all:?}");

    let missing = project_of_nothing();
    let run = site.run("node-web", &[("package.json", &missing)]).await;
    assert_eq!(failure(&run), ("failed", "install_failed", "submission"), "a package that is not there: {run}");
}

fn project_of_nothing() -> String {
    r#"{ "name": "site", "version": "1.0.0", "dependencies": { "no-such-thing": "1.0.0" } }"#.to_owned()
}

/// The registry that npm on this host uses, where it can be reached.
#[tokio::test]
async fn node_web_installs_from_the_registry_of_the_world() {
    let said = |arguments: &[&str]| {
        let output = Command::new("npm").args(arguments).stderr(std::process::Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(address) = said(&["config", "get", "registry"]) else {
        return println!("skipped: there is no npm on this host to name its registry");
    };
    if said(&["view", "is-odd", "version", "--fetch-retries=0", "--fetch-timeout=10000"]).is_none() {
        return println!("skipped: the registry of this host's npm does not answer");
    }
    let host = address.trim_start_matches("https://").split('/').next().unwrap().to_owned();
    // Some hosts reach it through a mirror at a private address.
    let mut settings = vec![("npm_registry", address), ("egress_private_hosts", format!("{host}:443"))];
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if bundle.exists() {
        settings.push(("extra_ca_file", bundle.display().to_string()));
    }
    let site = site(&settings);
    let project = project("is-odd", "3.0.1");
    let files: Vec<_> = project.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let run = site.run("node-web", &files).await;
    let text = site.text(id_of(&run), "").await;
    assert_eq!(run["score"].as_f64(), Some(10.0), "{run} {text}");
    let all = recorded(&site, id_of(&run)).await;
    assert!(all.iter().all(|one| one["host"] == host.as_str() && one["port"] == 443), "{all:?}");
    println!("{} connections, {} bytes", all.len(), all.iter().filter_map(|one| one["down"].as_u64()).sum::<u64>());
}

#[tokio::test]
async fn every_sample_of_node_web_comes_to_what_it_must() {
    let samples = repository("templates/node-web/sample");
    let expected: toml::Table = std::fs::read_to_string(samples.join("expect.toml")).unwrap().parse().unwrap();
    // As long as the demonstration lets a stage take.
    let site = site(&[("max_stage_timeout_s", "15".to_owned())]);
    for (name, wanted) in &expected {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(samples.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.push((file, std::fs::read_to_string(path).unwrap()));
        }
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let run = site.run("node-web", &files).await;
        let text = site.text(id_of(&run), "").await;
        assert_eq!(run["status"].as_str(), wanted["status"].as_str(), "{name}: {run} {text}");
        assert_eq!(run["score"].as_f64(), wanted.get("score").and_then(toml::Value::as_float), "{name}: {run} {text}");
        let code = wanted.get("failure_code").and_then(toml::Value::as_str);
        assert_eq!(run["failure"]["code"].as_str(), code, "{name}: {run} {text}");
        if name == "reaching-out" {
            let all = recorded(&site, id_of(&run)).await;
            assert_eq!(all.len(), 16);
            assert!(all.iter().all(|one| one["outcome"] == "refused" && one.get("address").is_none()), "{all:?}");
        }
    }
}
