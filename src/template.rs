//! Evaluation templates: `templates/<name>/template.toml` and the tests beside it.
//!
//! Loaded whole at start-up and refused whole if anything is wrong, so a run never meets a broken
//! template. The tests are packed once into the zip that every cell receives.

mod archive;
mod artifacts;
mod bundle;
mod cases;
mod complaint;
mod driver;
mod egress;
mod file;
mod keys;
mod live;
mod marking;
mod parameters;
mod progress;
pub mod reload;
mod room;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assize_domain::limits::CellLimits;
use assize_protocol::cases::Suite;
use assize_protocol::results::ResultsPath;
use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};

pub use archive::ArchiveRules;
pub use artifacts::Artifacts;
use assize_archive::Needed;
use assize_domain::run::{Class, StageName};
use assize_domain::verdict::{Format, Integrity, Limits, Marking, Reader, Scale};
pub use complaint::{Complaint, Severity, TEMPLATE_FILE};
pub use driver::{Driver, DriverKind, Reached};
pub use egress::{EgressQuota, Reach, Registry};
use file::File;
pub use live::{LiveTemplates, Reload};
pub use parameters::{MAX_PARAMETERS_BYTES, PARAMETERS_FILE, Parameters};
pub use progress::Progress;

/// Where the command that runs the cases writes its report.
pub const CASES_REPORT: &str = "/workspace/results.json";

/// One template, checked.
#[derive(Debug, Clone)]
pub struct Template {
    pub name: String,
    pub description: String,
    pub class: Class,
    pub image: String,
    /// The OCI runtime of its cells, if not the installation's.
    pub runtime: Option<String>,
    pub limits: CellLimits,
    pub archive: ArchiveRules,
    /// The subject's stages, in order.
    pub stages: Vec<Stage>,
    /// Present if a second cell decides.
    pub driver: Option<Driver>,
    pub results: Results,
    pub parameters: Parameters,
    pub artifacts: Artifacts,
    pub global_timeout_s: u64,
    /// The tests as a zip; empty if the template has none.
    pub bundle: Bytes,
    /// What the tests take up in their cell.
    pub tests: Needed,
    /// SHA-256 over `template.toml` and the tests: what a verdict was judged by.
    pub digest: String,
}

impl Template {
    /// What may be claimed of a verdict: only a second cell keeps the results out of the project's reach.
    #[must_use]
    pub const fn integrity(&self) -> Integrity {
        if self.driver.is_some() { Integrity::Isolated } else { Integrity::Shared }
    }

    /// Whether the driver calls the project's programs.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.driver.as_ref().is_some_and(Driver::is_calling)
    }

    /// The port of the subject's service, if it has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.stages.iter().find_map(|stage| stage.ready.as_ref()).map(|ready| ready.port)
    }
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
    pub egress_quota: Option<EgressQuota>,
}

/// How a service shows that it is up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    pub port: u16,
    /// A path that must be answered, with whatever status; without it a connection is enough.
    pub http: Option<String>,
}

/// Where the results are, and in what form.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    pub format: Format,
    /// In the cell that decides, with a `*` in the name of the file if there are several; absent for `exit_code`.
    pub path: Option<String>,
    /// The limit of all files together.
    #[serde(default = "default_max_kib")]
    pub max_kib: u64,
    /// Tests that every report must have, no more and no less; absent: any number.
    pub expect_tests: Option<usize>,
    /// Points of full marks: the maximum of every verdict; absent: what the report says.
    pub max_score: Option<f64>,
    /// How far above its maximum a score may go.
    #[serde(default)]
    pub extra_credit: ExtraCredit,
    #[serde(default)]
    pub exit_code: ExitCodeRule,
    #[serde(default)]
    pub on_driver_failure: OnDriverFailure,
    /// Whether the tests may report the end of each test while they run.
    #[serde(default)]
    pub progress: Progress,
    /// The rules of `[[tests]]`: what each test is worth.
    #[serde(skip)]
    pub marking: Marking,
}

impl Results {
    /// What a template says that names only the format and the path.
    #[must_use]
    pub fn of_format(format: Format, path: String) -> Self {
        Self {
            format,
            path: Some(path),
            max_kib: default_max_kib(),
            expect_tests: None,
            max_score: None,
            extra_credit: ExtraCredit::default(),
            exit_code: ExitCodeRule::default(),
            on_driver_failure: OnDriverFailure::default(),
            progress: Progress::default(),
            marking: Marking::default(),
        }
    }

    /// What the command writes that runs the cases.
    fn of_cases(suite: &Suite) -> Self {
        Self {
            format: Format::Gradescope,
            path: Some(CASES_REPORT.to_owned()),
            max_kib: default_max_kib(),
            expect_tests: Some(suite.cases.len()),
            max_score: Some(suite.cases.iter().map(|case| case.points).sum()),
            extra_credit: ExtraCredit::default(),
            exit_code: ExitCodeRule::default(),
            on_driver_failure: OnDriverFailure::default(),
            // The command reports only cases that everybody may see.
            progress: Progress::Shown,
            marking: Marking::default(),
        }
    }

    /// What verdicts are held to.
    #[must_use]
    pub fn scale(&self) -> Scale {
        Scale { max_score: self.max_score, extra_credit: self.extra_credit.points(), tests: self.expect_tests }
    }

    /// Whether the path names several files.
    #[must_use]
    pub fn has_pattern(&self) -> bool {
        let path = self.path.as_deref().map(ResultsPath::parse);
        matches!(path, Some(Ok(ResultsPath::Pattern { .. })))
    }

    /// How reports are read.
    #[must_use]
    pub fn reader(&self, integrity: Integrity) -> Reader {
        let bytes = usize::try_from(self.max_kib * 1024).unwrap_or(usize::MAX);
        Reader { format: self.format, integrity, limits: Limits { bytes, ..Limits::default() }, scale: self.scale() }
    }
}

/// Points above the maximum: so many, or `true` for any number.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum ExtraCredit {
    Any(bool),
    Points(f64),
}

impl Default for ExtraCredit {
    fn default() -> Self {
        Self::Any(false)
    }
}

impl ExtraCredit {
    /// The most that a score may lie above its maximum.
    #[must_use]
    pub const fn points(self) -> f64 {
        match self {
            Self::Any(true) => f64::INFINITY,
            Self::Any(false) => 0.0,
            Self::Points(points) => points,
        }
    }
}

/// What becomes of a run whose driver is interrupted, by its time, its limits or its own death, before it has written
/// its report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDriverFailure {
    /// It fails, and but for the time it is the driver's fault.
    #[default]
    Fail,
    /// What the driver has written counts, what is missing is 0. For drivers that run the project's code, such as the
    /// pages of a website: the project can interrupt them.
    ScoreZero,
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

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("template {}: {reason}{}", .path.display(), advised(*.advice))]
pub struct TemplateError {
    /// The folder of the template, or of all templates.
    pub path: PathBuf,
    /// What is wrong. For a template, the reason also names what to correct in it.
    pub reason: String,
    /// What to do about the folder of all templates.
    pub advice: Option<&'static str>,
}

/// The advice for a folder without templates.
const SET_FOLDER: &str = "set templates_dir";

fn advised(advice: Option<&str>) -> String {
    advice.map_or_else(String::new, |advice| format!("; {advice}"))
}

/// All templates, by name.
#[derive(Debug, Clone, Default)]
pub struct Templates(BTreeMap<String, Arc<Template>>);

impl Templates {
    /// Loads every folder of `folder` that has a `template.toml`.
    ///
    /// # Errors
    /// The first [`TemplateError`]; also if there is no template at all.
    pub fn load(folder: &Path) -> Result<Self, TemplateError> {
        let each = load_each(folder)?.into_iter().map(|(name, template)| Ok((name, Arc::new(template?))));
        each.collect::<Result<_, _>>().map(Self)
    }

    /// The template of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Template>> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.0.values().map(Arc::as_ref)
    }

    /// Their names, for a message.
    #[must_use]
    pub fn names(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// The template of each folder of `folder` that has a `template.toml`, or what is wrong with it.
fn load_each(folder: &Path) -> Result<BTreeMap<String, Result<Template, TemplateError>>, TemplateError> {
    let fault = |reason: String| TemplateError { path: folder.to_owned(), reason, advice: Some(SET_FOLDER) };
    let entries = std::fs::read_dir(folder).map_err(|error| fault(format!("cannot read the folder: {error}")))?;
    let mut all = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| fault(error.to_string()))?.path();
        if path.join(TEMPLATE_FILE).is_file() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            all.insert(name, Template::load(&path));
        }
    }
    if all.is_empty() {
        return Err(fault("none of its folders contains a template.toml".to_owned()));
    }
    Ok(all)
}

impl Template {
    /// Loads the template of a folder, which gives it its name.
    ///
    /// # Errors
    /// [`TemplateError`] with what is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, TemplateError> {
        let fault = |reason: String| TemplateError { path: folder.to_owned(), reason, advice: None };
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let text = std::fs::read_to_string(folder.join("template.toml")).map_err(|error| fault(error.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| fault(error.to_string()))?;
        file.check().map_err(fault)?;
        let tests = folder.join("tests");
        let with_cases = file.driver.as_ref().filter(|driver| driver.kind == DriverKind::Cases);
        let suite = with_cases.map(|driver| cases::load(&tests, driver)).transpose().map_err(fault)?;
        let bundle =
            bundle::pack(&tests, suite.as_ref()).map_err(|error| fault(format!("cannot pack tests/: {error}")))?;
        let (limits, whose) = match &file.driver {
            Some(driver) => (&driver.limits, "driver.limits"),
            None => (&file.limits, "limits"),
        };
        room::check_tests(&bundle, limits, whose).map_err(fault)?;
        let bundle::Bundle { bytes: bundle, needed: tests } = bundle;
        let mut digest = Sha256::new();
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(&text);
        digest.update(&bundle);
        let results = match &suite {
            Some(suite) => Results::of_cases(suite),
            None => file.marked_results().map_err(fault)?,
        };
        let File {
            description,
            class,
            image,
            runtime,
            limits,
            archive,
            stages,
            driver,
            parameters,
            artifacts,
            global,
            ..
        } = file;
        let digest = hex::encode(digest.finalize());
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
            parameters,
            artifacts,
            global_timeout_s,
            bundle,
            tests,
            digest,
        })
    }
}
