//! Where settings come from: defaults, the file, the environment, each outranking the one before.

use std::path::Path;

use super::{Config, ConfigError, SETTINGS};

impl Config {
    /// Reads `file` (or `assize.toml` here, if there is one), then the environment.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or variable, the key and what it must be.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let default_file = Path::new("assize.toml");
        let file = file.or_else(|| default_file.exists().then_some(default_file));
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })?,
        };
        let name = file.map_or_else(|| "assize.toml".to_owned(), |path| path.display().to_string());
        Self::from_sources(&name, &text, std::env::vars())
    }

    fn from_sources(
        name: &str,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let invalid = |source_name: &str, reason: String| ConfigError::Invalid {
            source_name: source_name.to_owned(),
            reason: reason.trim_end().replace('\n', " "),
        };
        let mut table: toml::Table = text.parse().map_err(|error| invalid(name, place(text, &error)))?;
        if let Some(key) = table.keys().find(|key| SETTINGS.iter().all(|setting| setting.key != *key)) {
            return Err(ConfigError::UnknownKey { key: key.clone(), source_name: name.to_owned() });
        }
        toml::Value::Table(table.clone())
            .try_into::<Self>()
            .map_err(|error: toml::de::Error| invalid(name, error.to_string()))?;
        for (variable, value) in environment {
            let Some(key) = key_of(&variable)? else { continue };
            let value = match value.parse::<i64>() {
                Ok(number) if !matches!(key, "instance" | "log" | "git_hosts") => toml::Value::Integer(number),
                _ => toml::Value::String(value),
            };
            table.insert(key.to_owned(), value);
            toml::Value::Table(table.clone())
                .try_into::<Self>()
                .map_err(|error: toml::de::Error| invalid(&variable, error.to_string()))?;
        }
        let config: Self =
            toml::Value::Table(table).try_into().map_err(|error: toml::de::Error| invalid(name, error.to_string()))?;
        config.check()?;
        Ok(config)
    }
}

/// Where a file is not TOML, and why. The error's own text quotes the line, which may hold a password.
fn place(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

/// The setting that an environment variable names; an unknown `ASSIZE_` name is an error.
fn key_of(variable: &str) -> Result<Option<&'static str>, ConfigError> {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.alias == Some(variable)) {
        return Ok(Some(setting.key));
    }
    let Some(name) = variable.strip_prefix("ASSIZE_") else { return Ok(None) };
    if CLIENT_VARIABLES.contains(&variable) {
        return Ok(None);
    }
    let key = name.to_lowercase();
    match SETTINGS.iter().find(|setting| setting.key == key) {
        Some(setting) => Ok(Some(setting.key)),
        None => Err(ConfigError::UnknownKey { key: variable.to_owned(), source_name: "the environment".to_owned() }),
    }
}

/// Variables of the command line and the build, not of the service.
const CLIENT_VARIABLES: &[&str] =
    &["ASSIZE_CONFIG", "ASSIZE_URL", "ASSIZE_KEY", "ASSIZE_DATA", "ASSIZE_DEBIAN_MIRROR", "ASSIZE_PULL"];

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::from_sources("assize.toml", text, environment)
    }

    #[test]
    fn the_environment_outranks_the_file() {
        let config = load("worker_slots = 3\ninstance = \"one\"", &[("ASSIZE_WORKER_SLOTS", "5")]).unwrap();
        assert_eq!((config.worker_slots, config.instance.as_str()), (5, "one"));
    }

    #[test]
    fn the_plans_own_names_are_accepted() {
        assert_eq!(load("", &[("MAX_ACTIVE_EVALUATIONS", "7")]).unwrap().max_active_evaluations, 7);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let in_file = load("worker_slot = 3", &[]).unwrap_err().to_string();
        assert_eq!(in_file, "unknown setting worker_slot in assize.toml; did you mean worker_slots?");
        let in_environment = load("", &[("ASSIZE_NO_SUCH", "1")]).unwrap_err().to_string();
        assert_eq!(in_environment, "unknown setting ASSIZE_NO_SUCH in the environment");
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_its_source() {
        let error = load("", &[("ASSIZE_WORKER_SLOTS", "many")]).unwrap_err().to_string();
        assert!(error.starts_with("ASSIZE_WORKER_SLOTS: "), "{error}");
        let error = load("", &[("ASSIZE_MAX_ARCHIVE_BYTES", "0")]).unwrap_err().to_string();
        assert_eq!(error, "setting max_archive_bytes is 0, it must be at least 1");
        let error = load("keep_runs_days = 36501", &[]).unwrap_err().to_string();
        assert_eq!(error, "setting keep_runs_days is 36501, it must be at most 36500");
        let error = load("output_tail_bytes = 4194305", &[]).unwrap_err().to_string();
        assert_eq!(error, "setting output_tail_bytes is 4194305, it must be at most 4194304");
        let error = load("cells_processors = \"0-\"", &[]).unwrap_err().to_string();
        assert_eq!(error, "setting cells_processors is \"0-\", it must be empty, none, or like 0-3,8");
    }

    #[test]
    fn every_setting_is_listed_once() {
        let fields = toml::Table::try_from(Config::default()).unwrap();
        let listed: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        let mut missing: Vec<_> = fields.keys().filter(|key| !listed.contains(&key.as_str())).collect();
        missing.dedup();
        assert!(missing.is_empty() && listed.len() == fields.len(), "not listed: {missing:?}");
    }
}
