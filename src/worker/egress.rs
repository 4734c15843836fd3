//! The egress policy: what the stages of a template may reach, and the environment variables that point their programs
//! to the proxy, the registry and the certificates.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use assize_cell::spec::TMP;
use assize_config::Config;
use assize_host::clock::Clock;
use assize_protocol::egress::PROXY_PORT;
use assize_protocol::plan::{Egress, Input};
use bytes::Bytes;

use crate::egress::{Allow, Allowance, Guard, Names, Rules, registry};
use crate::intake::repository::Repository;
use crate::template::{Reach, Registry, Stage, Template, Templates};

/// The longest bundle of certificates, in bytes. The bundle of public authorities has 220 KB.
const MAX_CA_BYTES: u64 = 2 << 20;

/// Bytes that one run may send. They are stored in the journal of its cell: an eighth of the 64 MiB that the engine
/// stores, because the rest is for output and results.
const MAX_UPLOAD_BYTES: u64 = 8 << 20;

/// The name of the bundle in the scratch space of a cell.
const CA_FILE_NAME: &str = "assize-ca.pem";

/// A repository host that sends fewer bytes per second than this has stalled.
pub const MIN_FETCH_BYTES_PER_S: u64 = 1024;

/// Why a stage cannot reach what its template lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReachProblem {
    /// The setting of this name is empty.
    SettingMissing,
    /// The host does not resolve, or to an address that may not be dialled.
    Refused(String),
}

/// What stages may reach on this worker, by its settings.
pub struct EgressPolicy {
    guard: Guard,
    /// The archive with the bundle of certificates, if the setting `extra_ca_file` names one.
    ca: Option<Bytes>,
}

impl EgressPolicy {
    /// Reads the settings.
    ///
    /// # Errors
    /// The name of the setting that cannot be used.
    pub fn open(clock: &Clock, config: &Config, templates: &Templates) -> anyhow::Result<Self> {
        let guard = Guard::of_host(clock, &config.egress_private_hosts)
            .map_err(|reason| anyhow::anyhow!("egress_private_hosts: {reason}"))?;
        if !config.npm_registry.is_empty() {
            registry(&config.npm_registry).map_err(|reason| anyhow::anyhow!("npm_registry: {reason}"))?;
        }
        for template in templates.iter() {
            if template.stages.iter().any(|stage| missing_setting(stage, config).is_some()) {
                tracing::warn!(template = template.name, "npm_registry is not set: nothing can be installed from it");
            }
        }
        let ca = has_ca(config).then(|| pack(&config.extra_ca_file)).transpose();
        Ok(Self { guard, ca: ca.with_context(|| format!("extra_ca_file {}", config.extra_ca_file.display()))? })
    }

    /// Tries what the stages of a template may reach, as for a run: each listed host must resolve to addresses that may be
    /// dialled. Names below a wildcard are the project's choice and are not tried.
    pub async fn try_hosts(&self, template: &Template, config: &Config) -> Vec<(String, Result<(), ReachProblem>)> {
        let mut found = BTreeMap::new();
        for stage in &template.stages {
            if let Some(setting) = missing_setting(stage, config) {
                found.insert(setting.to_owned(), Err(ReachProblem::SettingMissing));
            }
            let allowed = allowed(stage, config);
            for (host, port) in allowed.iter().filter_map(Allow::exactly) {
                let admitted = self.guard.admit(&Names::default(), &allowed, &host, port).await;
                let tried = admitted.map(drop).map_err(|refusal| ReachProblem::Refused(refusal.to_string()));
                found.insert(format!("{host}:{port}"), tried);
            }
        }
        found.into_iter().collect()
    }

    /// The rules of the subject's stages.
    pub fn rules_for(&self, template: &Template, config: &Config) -> Rules {
        let mut rules = Rules::new(self.guard.clone());
        for (number, stage) in (0_u8..).zip(&template.stages) {
            if !stage.egress.is_empty() {
                rules.allow(number, allowed(stage, config), missing_setting(stage, config), allowance(stage, config));
            }
        }
        rules
    }

    /// The rules of a cell that fetches a repository: its one stage reaches the repository's host and port, and may
    /// transfer `bytes`.
    ///
    /// # Errors
    /// Why the host is invalid.
    pub fn only_repository(&self, repository: &Repository, bytes: u64) -> Result<Rules, String> {
        /// Git connects three times, and again after a redirect.
        const MAX_CONNECTIONS: u64 = 20;
        /// Less than Git's own limit, so that the tunnel notices a stalled host first. A fetch has 120 s.
        const STALL_TIMEOUT: Duration = Duration::from_secs(30);
        let mut rules = self.no_egress();
        let allowed = Allow::new(&repository.host, repository.port)?;
        rules.allow(0, vec![allowed], None, Allowance { connections: MAX_CONNECTIONS, bytes });
        rules.end_slow_after(STALL_TIMEOUT, MIN_FETCH_BYTES_PER_S);
        Ok(rules)
    }

    /// The rules of a cell without egress.
    pub fn no_egress(&self) -> Rules {
        Rules::new(self.guard.clone())
    }

    /// The archive with the certificates that [`input`] announces.
    pub fn certificates(&self) -> Bytes {
        self.ca.clone().unwrap_or_default()
    }
}

fn allowed(stage: &Stage, config: &Config) -> Vec<Allow> {
    let allow = |reach: &Reach| match reach {
        Reach::Host(allow) => Some(allow.clone()),
        Reach::Registry(Registry::Npm) => registry(&config.npm_registry).ok(),
    };
    stage.egress.iter().filter_map(allow).collect()
}

/// The setting that is empty although the template lets this stage reach what it names.
fn missing_setting(stage: &Stage, config: &Config) -> Option<&'static str> {
    let needs_npm = stage.egress.contains(&Reach::Registry(Registry::Npm));
    (needs_npm && config.npm_registry.is_empty()).then_some("npm_registry")
}

fn allowance(stage: &Stage, config: &Config) -> Allowance {
    let own = stage.egress_quota;
    let least = |own: Option<u64>, most: u64| own.map_or(most, |own| own.min(most));
    let mib = least(own.map(|own| own.mib), config.egress_max_mib);
    let connections = least(own.map(|own| own.connections), config.egress_max_connections);
    Allowance { connections, bytes: mib << 20 }
}

fn has_ca(config: &Config) -> bool {
    !config.extra_ca_file.as_os_str().is_empty()
}

/// The certificates as one more input of a subject with egress.
pub fn input(template: &Template, config: &Config) -> Option<Input> {
    certificates(config).filter(|_| template.stages.iter().any(|stage| !stage.egress.is_empty()))
}

/// The certificates as an input of a cell, if the operator has set any.
pub fn certificates(config: &Config) -> Option<Input> {
    // An archive of bytes that cannot be compressed is longer than the bytes; twice is enough.
    has_ca(config).then(|| Input {
        into: TMP.to_owned(),
        max_archive_bytes: 2 * MAX_CA_BYTES,
        max_entries: 1,
        max_bytes: MAX_CA_BYTES,
        deny_content: Vec::new(),
        names: None,
        before: None,
    })
}

/// The proxy of the one stage that fetches a repository, and how Git learns of it and of the certificates.
pub fn proxy_of_fetch(config: &Config) -> (Egress, BTreeMap<String, String>) {
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let mut env = BTreeMap::from(["http_proxy", "https_proxy"].map(|name| (name.to_owned(), proxy.clone())));
    if has_ca(config) {
        env.insert("GIT_SSL_CAINFO".to_owned(), format!("{TMP}/{CA_FILE_NAME}"));
    }
    (Egress { port: PROXY_PORT, journal_bytes: MAX_UPLOAD_BYTES }, env)
}

/// The proxy of a stage.
pub fn proxy(template: &Template, stage: &Stage) -> Option<Egress> {
    let sharing = template.stages.iter().filter(|stage| !stage.egress.is_empty()).count() as u64;
    let journal_bytes = MAX_UPLOAD_BYTES.checked_div(sharing)?;
    (!stage.egress.is_empty()).then_some(Egress { port: PROXY_PORT, journal_bytes })
}

/// How the programs of a stage with egress learn of its proxy, its registry and its certificates.
pub fn environment(stage: &Stage, config: &Config) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    if stage.egress.is_empty() {
        return env;
    }
    let mut set = |names: &[&str], value: &str| {
        env.extend(names.iter().map(|name| ((*name).to_owned(), value.to_owned())));
    };
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    set(
        &["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "npm_config_proxy", "npm_config_https_proxy"],
        &proxy,
    );
    set(&["no_proxy", "NO_PROXY"], "localhost,127.0.0.1,::1");
    if stage.egress.contains(&Reach::Registry(Registry::Npm)) {
        if !config.npm_registry.is_empty() {
            set(&["npm_config_registry"], &config.npm_registry);
            // A lock file may name the registry that its author used.
            set(&["npm_config_replace_registry_host"], "always");
        }
        set(&["npm_config_audit", "npm_config_fund", "npm_config_update_notifier"], "false");
    }
    if has_ca(config) {
        let path = format!("{TMP}/{CA_FILE_NAME}");
        let readers = [
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "PIP_CERT",
            "REQUESTS_CA_BUNDLE",
        ];
        set(&readers, &path);
    }
    env
}

fn pack(path: &Path) -> anyhow::Result<Bytes> {
    let length = std::fs::metadata(path)?.len();
    anyhow::ensure!(length <= MAX_CA_BYTES, "it has {length} bytes, the limit is {MAX_CA_BYTES}");
    let bytes = std::fs::read(path)?;
    anyhow::ensure!(bytes.windows(11).any(|window| window == b"-----BEGIN "), "it holds no certificate in PEM form");
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(
        CA_FILE_NAME,
        zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default()),
    )?;
    zip.write_all(&bytes)?;
    Ok(zip.finish()?.into_inner().into())
}
