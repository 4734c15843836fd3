//! Evaluation templates: `templates/<name>/template.toml` and the tests beside it.
//!
//! Loaded whole at start-up and refused whole if anything is wrong, so a run never meets a broken
//! template. The tests are packed once into the zip that every cell receives.

mod archive;
mod egress;

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use archive::ArchiveRules;

use crate::run::{Class, StageName};
use crate::verdict::{self, Format, Integrity};
pub use egress::{Quota, Reach, Registry};

/// The longest packed bundle of tests, in bytes: it is kept in memory and sent to every cell.
const MAX_BUNDLE: u64 = 16 * 1024 * 1024;

/// One template, checked.
#[derive(Debug, Clone)]
pub struct Template {
    pub name: String,
    pub description: String,
    pub class: Class,
    pub image: String,
    /// The OCI runtime of its cells, if not the installation's.
    pub runtime: Option<String>,
    pub limits: Limits,
    pub archive: ArchiveRules,
    /// The subject's stages, in order.
    pub stages: Vec<Stage>,
    /// Present if a second cell decides.
    pub driver: Option<Driver>,
    pub results: Results,
    pub global_timeout_s: u64,
    /// The tests as a zip; empty if the template has none.
    pub bundle: Bytes,
    /// SHA-256 over `template.toml` and the tests: what a verdict was judged by.
    pub digest: String,
}

impl Template {
    /// What may be claimed of a verdict: only a second cell keeps the results out of the project's reach.
    #[must_use]
    pub const fn integrity(&self) -> Integrity {
        if self.driver.is_some() { Integrity::Isolated } else { Integrity::Shared }
    }

    /// The port of the subject's service, if it has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.stages.iter().find_map(|stage| stage.ready.as_ref()).map(|ready| ready.port)
    }
}

/// What a cell may use; enforced by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub cpus: f64,
    pub memory_mib: u64,
    /// Processes and threads, the warden included.
    pub pids: u64,
    pub workspace_mib: u64,
    pub workspace_inodes: u64,
    pub tmp_mib: u64,
}

/// One command of a template.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    pub name: StageName,
    pub command: Vec<String>,
    pub timeout_s: u64,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Makes the stage a service.
    pub ready: Option<Ready>,
    /// What it may reach, through the proxy of its cell; nothing if empty.
    #[serde(default)]
    pub egress: Vec<Reach>,
    pub egress_quota: Option<Quota>,
}

/// How a service shows that it is up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    pub port: u16,
    /// A path that must be answered, with whatever status; without it a connection is enough.
    pub http: Option<String>,
}

/// The cell that decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    pub image: String,
    pub command: Vec<String>,
    pub timeout_s: u64,
    pub limits: Limits,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Where the results are, and in what form.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    pub format: Format,
    /// In the cell that decides; absent for `exit_code`.
    pub path: Option<String>,
    #[serde(default = "default_max_kib")]
    pub max_kib: u64,
    /// Tests that a report with points must have, no more and no less; absent: any number.
    pub expect_tests: Option<usize>,
    #[serde(default)]
    pub exit_code: ExitCodeRule,
}

/// What the exit code of the tests must have to do with their report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCodeRule {
    /// Tests that all passed have exited with 0. A runner that always exits with 0 keeps this too.
    #[default]
    Agrees,
    /// For runners whose exit code means something else.
    Ignored,
}

const fn default_max_kib() -> u64 {
    1024
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    class: Class,
    image: String,
    runtime: Option<String>,
    limits: Limits,
    #[serde(default)]
    archive: ArchiveRules,
    stages: Vec<Stage>,
    driver: Option<Driver>,
    results: Results,
    global: Global,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Global {
    timeout_s: u64,
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("template {}: {reason}", .path.display())]
pub struct TemplateError {
    pub path: PathBuf,
    pub reason: String,
}

/// All templates, by name.
#[derive(Debug, Clone, Default)]
pub struct Templates(BTreeMap<String, Template>);

impl Templates {
    /// Loads every folder of `folder` that has a `template.toml`.
    ///
    /// # Errors
    /// The first [`TemplateError`]; also if there is no template at all.
    pub fn load(folder: &Path) -> Result<Self, TemplateError> {
        let fault = |reason: String| TemplateError { path: folder.to_owned(), reason };
        let entries = std::fs::read_dir(folder)
            .map_err(|error| fault(format!("cannot read the folder: {error}; set templates_dir")))?;
        let mut all = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(|error| fault(error.to_string()))?.path();
            if path.join("template.toml").is_file() {
                let template = Template::load(&path)?;
                all.insert(template.name.clone(), template);
            }
        }
        if all.is_empty() {
            return Err(fault("no folder in it has a template.toml; set templates_dir".to_owned()));
        }
        Ok(Self(all))
    }

    /// The template of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Template> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.0.values()
    }

    /// Their names, for a message.
    #[must_use]
    pub fn names(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Template {
    fn load(folder: &Path) -> Result<Self, TemplateError> {
        let fault = |reason: String| TemplateError { path: folder.to_owned(), reason };
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let text = std::fs::read_to_string(folder.join("template.toml")).map_err(|error| fault(error.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| fault(error.to_string()))?;
        file.check().map_err(fault)?;
        let bundle = pack(&folder.join("tests")).map_err(|error| fault(format!("cannot pack tests/: {error}")))?;
        let mut digest = Sha256::new();
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(&text);
        digest.update(&bundle);
        let File { description, class, image, runtime, limits, archive, stages, driver, results, global } = file;
        let digest = hex(&digest.finalize());
        let global_timeout_s = global.timeout_s;
        Ok(Self {
            name,
            description,
            class,
            image,
            runtime,
            limits,
            archive,
            stages,
            driver,
            results,
            global_timeout_s,
            bundle,
            digest,
        })
    }
}

impl File {
    fn check(&self) -> Result<(), String> {
        self.limits.check("limits")?;
        self.archive.check()?;
        // What is longer the parser would refuse: see [`verdict::Limits`].
        let most_kib = verdict::Limits::default().bytes as u64 / 1024;
        if !(1..=most_kib).contains(&self.results.max_kib) {
            return Err(format!("results.max_kib is {}, it must be 1 to {most_kib}", self.results.max_kib));
        }
        if self.stages.is_empty() || self.stages.iter().any(|stage| stage.command.is_empty()) {
            return Err("every template has at least one stage, and every stage a command".to_owned());
        }
        if self.stages.iter().any(|stage| stage.name == StageName::Fetch) {
            return Err("no template has a stage fetch: repositories are fetched in a cell of their own".to_owned());
        }
        if self.stages.windows(2).any(|pair| pair[0].name >= pair[1].name) {
            return Err("stages must come in the order install, build, start, tests, each at most once".to_owned());
        }
        if let Some(wrong) = self.stages.iter().find(|stage| stage.ready.is_some() != (stage.name == StageName::Start))
        {
            return Err(format!("stage {}: the start stage, and only it, has `ready`", wrong.name));
        }
        let before_the_tests = |stage: &Stage| matches!(stage.name, StageName::Install | StageName::Build);
        if let Some(wrong) = self.stages.iter().find(|stage| !stage.egress.is_empty() && !before_the_tests(stage)) {
            return Err(format!("stage {}: only install and build may have `egress`", wrong.name));
        }
        if let Some(wrong) = self.stages.iter().find(|stage| stage.egress_quota.is_some() && stage.egress.is_empty()) {
            return Err(format!("stage {}: `egress_quota` without `egress`", wrong.name));
        }
        let has_tests = self.stages.iter().any(|stage| stage.name == StageName::Tests);
        match &self.driver {
            Some(_) if has_tests => return Err("with a [driver] there is no tests stage: the driver tests".to_owned()),
            None if !has_tests => return Err("without a [driver] the last stage must be tests".to_owned()),
            Some(driver) => {
                driver.limits.check("driver.limits")?;
                if driver.command.is_empty() {
                    return Err("driver.command is empty".to_owned());
                }
                if self.stages.iter().all(|stage| stage.ready.is_none()) {
                    return Err("with a [driver] there must be a start stage for it to test".to_owned());
                }
            }
            None => {}
        }
        if self.results.format == Format::ExitCode && self.results.expect_tests.is_some() {
            return Err("results.expect_tests has no meaning for exit_code".to_owned());
        }
        match (&self.results.format, &self.results.path) {
            (Format::ExitCode, Some(_)) => Err("results.path has no meaning for exit_code".to_owned()),
            (Format::ExitCode, None) => Ok(()),
            (_, Some(path)) if path.starts_with('/') => Ok(()),
            _ => Err("results.path must be an absolute path in the cell that decides".to_owned()),
        }
    }
}

impl Limits {
    fn check(&self, name: &str) -> Result<(), String> {
        let ranges = [
            ("memory_mib", self.memory_mib, 16, 1 << 20),
            ("pids", self.pids, 4, 32_768),
            ("workspace_mib", self.workspace_mib, 1, 1 << 20),
            ("workspace_inodes", self.workspace_inodes, 16, 10_000_000),
            ("tmp_mib", self.tmp_mib, 1, 1 << 20),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(format!("{name}.{key} is {value}, it must be {least} to {most}"));
            }
        }
        if !(0.05..=256.0).contains(&self.cpus) {
            return Err(format!("{name}.cpus is {}, it must be 0.05 to 256", self.cpus));
        }
        Ok(())
    }
}

/// A folder as a zip, the same bytes for the same files: sorted, without times.
fn pack(folder: &Path) -> Result<Bytes, String> {
    if !folder.is_dir() {
        return Ok(Bytes::new());
    }
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    let walk = ignore::WalkBuilder::new(folder).standard_filters(false).sort_by_file_path(Path::cmp).build();
    let mut size = 0;
    for entry in walk {
        let entry = entry.map_err(|error| error.to_string())?;
        let path = entry.path();
        let name = path.strip_prefix(folder).map_err(|error| error.to_string())?;
        let name = name.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
        if !path.is_file() || name.contains("__pycache__") {
            continue;
        }
        let content = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        size += content.len() as u64;
        if size > MAX_BUNDLE {
            return Err(format!("more than {MAX_BUNDLE} bytes"));
        }
        zip.start_file(name, options).map_err(|error| error.to_string())?;
        zip.write_all(&content).map_err(|error| error.to_string())?;
    }
    Ok(zip.finish().map_err(|error| error.to_string())?.into_inner().into())
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        description = "d"
        class = "A"
        image = "i"
        limits = { cpus = 1.0, memory_mib = 64, pids = 16, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 }
        stages = [{ name = "tests", command = ["true"], timeout_s = 1 }]
        results = { format = "exit_code" }
        global = { timeout_s = 10 }
    "#;

    fn load(text: &str) -> Result<Template, TemplateError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("template.toml"), text).unwrap();
        std::fs::create_dir(folder.path().join("tests")).unwrap();
        std::fs::write(folder.path().join("tests/check.sh"), "true").unwrap();
        Template::load(folder.path())
    }

    #[test]
    fn the_same_files_give_the_same_digest() {
        assert_eq!(load(GOOD).unwrap().digest, load(GOOD).unwrap().digest);
        assert_ne!(load(GOOD).unwrap().digest, load(&GOOD.replace("\"d\"", "\"e\"")).unwrap().digest);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = load(&format!("{GOOD}\n surprise = 1")).unwrap_err().to_string();
        assert!(error.contains("surprise"), "{error}");
    }

    #[test]
    fn a_limit_out_of_range_names_it() {
        let error = load(&GOOD.replace("pids = 16", "pids = 1")).unwrap_err().to_string();
        assert!(error.contains("limits.pids is 1, it must be 4 to 32768"), "{error}");
    }

    #[test]
    fn results_are_no_longer_than_what_is_parsed() {
        let error = load(&GOOD.replace("\"exit_code\"", "\"exit_code\", max_kib = 1025")).unwrap_err().to_string();
        assert!(error.contains("results.max_kib is 1025, it must be 1 to 1024"), "{error}");
    }

    #[test]
    fn only_install_and_build_reach_anything() {
        let egress = r#"timeout_s = 1, egress = [{ host = "a.example", port = 443 }]"#;
        let error = load(&GOOD.replace("timeout_s = 1 }", &format!("{egress} }}"))).unwrap_err().to_string();
        assert!(error.contains("stage tests: only install and build may have `egress`"), "{error}");
        let stages = format!(r#"stages = [{{ name = "install", command = ["true"], {egress} }},"#);
        let template = load(&GOOD.replace("stages = [", &stages)).unwrap();
        assert_eq!((template.stages[0].egress.len(), template.stages[1].egress.len()), (1, 0));
        let error =
            load(&GOOD.replace("timeout_s = 1 }", "timeout_s = 1, egress_quota = { connections = 1, mib = 1 } }"));
        assert!(error.unwrap_err().to_string().contains("`egress_quota` without `egress`"));
    }

    #[test]
    fn without_a_driver_the_tests_stage_is_needed() {
        let error = load(&GOOD.replace("\"tests\"", "\"build\"")).unwrap_err().to_string();
        assert!(error.contains("the last stage must be tests"), "{error}");
    }
}
