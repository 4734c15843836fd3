//! Why the settings cannot be used, and what to do about it.

use std::path::PathBuf;

/// Where people find every setting.
const DOCUMENT: &str = "docs/configuration.md lists every setting";

/// An error in the settings, with advice where there is any.
#[derive(Debug, thiserror::Error)]
#[error("{problem}{}", .advice.as_ref().map_or_else(String::new, |advice| format!("; {advice}")))]
pub struct ConfigError {
    /// What is wrong, and where.
    pub problem: ConfigProblem,
    /// What to do.
    pub advice: Option<String>,
}

/// What is wrong with the settings. No value is quoted that is not of the right type, because it may be a password that
/// stands in the wrong place.
#[derive(Debug, thiserror::Error)]
pub enum ConfigProblem {
    #[error("cannot read the settings file {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{source_name}: {reason}")]
    NotToml { source_name: String, reason: String },
    #[error("{source_name}: {key} must be {must}")]
    WrongType { source_name: String, key: &'static str, must: String },
    #[error("unknown setting {key} in {source_name}")]
    UnknownKey { key: String, source_name: String },
    /// A setting of an earlier version.
    #[error("setting {key} in {source_name} was {change}")]
    Gone { key: String, source_name: String, change: &'static str },
    #[error("setting {key} is {value}, it must be {must}")]
    OutOfRange { key: &'static str, value: String, must: String },
}

impl ConfigError {
    pub(crate) fn unreadable(path: PathBuf, reason: String) -> Self {
        Self { problem: ConfigProblem::Unreadable { path, reason }, advice: None }
    }

    pub(crate) fn not_toml(source_name: &str, reason: String) -> Self {
        let problem = ConfigProblem::NotToml { source_name: source_name.to_owned(), reason };
        Self { problem, advice: Some(DOCUMENT.to_owned()) }
    }

    pub(crate) fn wrong_type(source_name: &str, key: &'static str, must: String) -> Self {
        let problem = ConfigProblem::WrongType { source_name: source_name.to_owned(), key, must };
        Self { problem, advice: Some(DOCUMENT.to_owned()) }
    }

    pub(crate) fn out_of_range(key: &'static str, value: String, must: String) -> Self {
        Self { problem: ConfigProblem::OutOfRange { key, value, must }, advice: None }
    }
}
