//! Why the settings cannot be used.

use std::path::PathBuf;

use super::SETTINGS;

/// The advice for a value that cannot be read.
const LIST: &str = "the README lists every setting";

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the settings file {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{source_name}: {reason}; {LIST}")]
    Invalid { source_name: String, reason: String },
    #[error("unknown setting {key} in {source_name}{}", advised(hint(.key)))]
    UnknownKey { key: String, source_name: String },
    #[error("setting {key} is {value}, it must be {must}")]
    OutOfRange { key: &'static str, value: String, must: &'static str },
}

impl ConfigError {
    /// Returns what an operator should do. The message ends with this advice, after a semicolon.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Invalid { .. } => Some(LIST.to_owned()),
            Self::UnknownKey { key, .. } => hint(key),
            Self::Unreadable { .. } | Self::OutOfRange { .. } => None,
        }
    }
}

fn advised(advice: Option<String>) -> String {
    advice.map_or_else(String::new, |advice| format!("; {advice}"))
}

/// Returns a question that names the known setting closest to `key`.
fn hint(key: &str) -> Option<String> {
    let key = key.trim_start_matches("ASSIZE_").to_lowercase();
    SETTINGS
        .iter()
        .find(|setting| setting.key.contains(&key) || key.contains(setting.key))
        .map(|near| format!("did you mean {}?", near.key))
}
