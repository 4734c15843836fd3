//! The names that files and environment variables may use.

use super::{ConfigError, ConfigProblem, SETTINGS, Setting};

/// Variables of the command line and the build, not of the service.
const CLIENT_VARIABLES: &[&str] =
    &["ASSIZE_CONFIG", "ASSIZE_URL", "ASSIZE_KEY", "ASSIZE_DATA", "ASSIZE_DEBIAN_MIRROR", "ASSIZE_PULL"];

/// The names before 0.1.0, and the names that replaced them.
const RENAMED: &[(&str, &str)] = &[
    ("allow_unenforced", "allow_unenforced_limits"),
    ("cells_processors", "cells_cpuset"),
    ("heavy_patience_s", "heavy_reserve_after_s"),
    ("keep_archives_days", "archive_retention_days"),
    ("keep_output_days", "output_retention_days"),
    ("keep_runs_days", "run_retention_days"),
    ("max_held_per_key", "max_open_requests_per_key"),
];

/// Settings before 0.1.0 that are constants now, and what the service does instead.
const REMOVED: &[(&str, &str)] = &[
    ("berth_max_runs", "a sandbox container is replaced after 200 runs"),
    ("egress_upload_mib", "one run may send 8 MiB"),
    ("engine_creates", "the worker creates two cells per core at one time"),
    ("output_head_bytes", "the first 512 KiB of a stage's output are stored"),
    ("output_tail_bytes", "the last 512 KiB of a stage's output are stored"),
    ("rate_burst_per_address", "an address may send the requests of 50 s at once, which rate_per_address sets"),
    ("rate_burst_per_key", "a key may send the requests of 50 s at once, which rate_per_key sets"),
];

/// The least similarity of a name that is suggested: one or two wrong letters in ten.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns the setting that a key of a file names.
///
/// # Errors
/// The key is unknown, or of an earlier version.
pub(crate) fn of_key(key: &str, source_name: &str) -> Result<&'static Setting, ConfigError> {
    SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(|| unknown(key, key, source_name))
}

/// Returns the setting that an environment variable names; `None` if the variable is not for the service.
///
/// # Errors
/// The variable begins with `ASSIZE_` and names no setting, or one of an earlier version.
pub(crate) fn of_variable(variable: &str) -> Result<Option<&'static Setting>, ConfigError> {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.alias == Some(variable)) {
        return Ok(Some(setting));
    }
    let Some(name) = variable.strip_prefix("ASSIZE_") else { return Ok(None) };
    if CLIENT_VARIABLES.contains(&variable) {
        return Ok(None);
    }
    let key = name.to_lowercase();
    match SETTINGS.iter().find(|setting| setting.key == key) {
        Some(setting) => Ok(Some(setting)),
        None => Err(unknown(&key, variable, "the environment")),
    }
}

/// The error for `key`, which the source spells as `written`.
fn unknown(key: &str, written: &str, source_name: &str) -> ConfigError {
    let (written, source_name) = (written.to_owned(), source_name.to_owned());
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == key) {
        let problem = ConfigProblem::Gone { key: written, source_name, change: "renamed" };
        return ConfigError { problem, advice: Some(format!("use {new}")) };
    }
    if let Some((_, instead)) = REMOVED.iter().find(|(old, _)| *old == key) {
        let problem = ConfigProblem::Gone { key: written, source_name, change: "removed" };
        return ConfigError { problem, advice: Some(format!("delete it: {instead}")) };
    }
    let advice = closest(key).map(|setting| format!("did you mean {}?", setting.key));
    ConfigError { problem: ConfigProblem::UnknownKey { key: written, source_name }, advice }
}

/// Returns the setting whose name resembles `key` most: by its letters, or because one contains the other.
fn closest(key: &str) -> Option<&'static Setting> {
    let similarity = |setting: &Setting| strsim::normalized_damerau_levenshtein(setting.key, key);
    let most_similar = SETTINGS.iter().max_by(|one, other| similarity(one).total_cmp(&similarity(other)))?;
    if similarity(most_similar) >= MIN_SIMILARITY {
        return Some(most_similar);
    }
    SETTINGS.iter().find(|setting| setting.key.contains(key) || key.contains(setting.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_corrected() {
        for (wrong, right) in [
            ("intsance", "instance"),
            ("worker_slot", "worker_slots"),
            ("max_qeued", "max_queued"),
            ("spool", "spool_dir"),
        ] {
            assert_eq!(closest(wrong).map(|setting| setting.key), Some(right), "{wrong}");
        }
        assert!(closest("no_such").is_none());
    }

    #[test]
    fn a_name_of_an_earlier_version_says_what_replaced_it() {
        for (old, new) in RENAMED {
            let error = of_key(old, "assize.toml").unwrap_err().to_string();
            assert_eq!(error, format!("setting {old} in assize.toml was renamed; use {new}"));
            assert!(SETTINGS.iter().any(|setting| setting.key == *new), "{new}");
        }
        for (old, instead) in REMOVED {
            let variable = format!("ASSIZE_{}", old.to_uppercase());
            let error = of_variable(&variable).unwrap_err().to_string();
            assert_eq!(error, format!("setting {variable} in the environment was removed; delete it: {instead}"));
            assert!(SETTINGS.iter().all(|setting| setting.key != *old), "{old}");
        }
    }

    #[test]
    fn variables_of_others_are_not_settings() {
        for variable in ["PATH", "ASSIZE_URL", "max_active_evaluations", "LOG"] {
            assert!(of_variable(variable).unwrap().is_none(), "{variable}");
        }
    }
}
