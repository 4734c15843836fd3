//! Why the settings cannot be used.

use std::path::PathBuf;

use super::SETTINGS;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the settings file {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{source_name}: {reason}; the README lists every setting")]
    Invalid { source_name: String, reason: String },
    #[error("unknown setting {key} in {source_name}{}", hint(.key))]
    UnknownKey { key: String, source_name: String },
    #[error("setting {key} is {value}, it must be {must}")]
    OutOfRange { key: &'static str, value: String, must: &'static str },
}

fn hint(key: &str) -> String {
    let key = key.trim_start_matches("ASSIZE_").to_lowercase();
    SETTINGS
        .iter()
        .find(|setting| setting.key.contains(&key) || key.contains(setting.key))
        .map_or_else(String::new, |near| format!("; did you mean {}?", near.key))
}
