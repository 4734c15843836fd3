//! Where settings come from: the defaults, the file, the file of this version, the credentials, the environment. A later
//! source overrides an earlier one.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use config::{File, FileFormat, Source, Value};

use super::setting::Kind;
use super::{Config, ConfigError, SETTINGS, names};

/// The settings of one source, all of them known and of the right type.
#[derive(Debug, Clone)]
struct Layer(HashMap<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    /// Reads the settings of a file whose text is `text`.
    fn file(name: &str, text: &str) -> Result<Self, ConfigError> {
        let values = File::from_str(text, FileFormat::Toml)
            .collect()
            .map_err(|error| ConfigError::not_toml(name, syntax_error(text, error)))?;
        // A map has no order: of several errors, the same one is reported each time.
        let mut keys: Vec<&String> = values.keys().collect();
        keys.sort();
        for key in keys {
            let setting = names::of_key(key, name)?;
            if !setting.kind.accepts(&values[key].kind) {
                return Err(ConfigError::wrong_type(name, setting.key, setting.kind.to_string()));
            }
        }
        Ok(Self(values))
    }

    /// Reads the settings that are credentials. Each value is parsed by the type of its setting.
    fn credentials(files: &[(&'static str, PathBuf)]) -> Result<Self, ConfigError> {
        let mut values = HashMap::new();
        for (key, path) in files {
            let name = path.display().to_string();
            let setting = names::of_key(key, &name)?;
            let wrong = || ConfigError::wrong_type(&name, setting.key, setting.kind.to_string());
            let value = setting.kind.parse(&read_credential(path)?).ok_or_else(wrong)?;
            values.insert((*key).to_owned(), Value::new(Some(&name), value));
        }
        Ok(Self(values))
    }

    /// Reads the settings among the variables of an environment. Each value is parsed by the type of its setting.
    fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut values = HashMap::new();
        for (variable, value) in variables {
            let Ok(variable) = variable.into_string() else { continue };
            let Some(setting) = names::of_variable(&variable)? else { continue };
            let wrong = |kind: Kind| ConfigError::wrong_type(&variable, setting.key, kind.to_string());
            let text = value.into_string().map_err(|_| wrong(setting.kind))?;
            let value = setting.kind.parse(&text).ok_or_else(|| wrong(setting.kind))?;
            values.insert(setting.key.to_owned(), Value::new(Some(&variable), value));
        }
        Ok(Self(values))
    }
}

/// The files and folders that settings are read from.
#[derive(Debug, Clone, Default)]
pub struct SettingsFiles {
    /// The settings file, if there is one.
    pub file: Option<PathBuf>,
    /// The file of this version beside it, if it exists: `assize.d/<version>.toml`. Programs of other versions do not
    /// read it, so it may hold settings that only this version knows.
    pub version_file: Option<PathBuf>,
    /// The credentials that the service manager passed (systemd's `LoadCredential=`) and that are named like a setting,
    /// each with its key.
    pub credentials: Vec<(&'static str, PathBuf)>,
}

impl SettingsFiles {
    /// Returns what is read for `file`, or for `assize.toml` in the current folder if it exists.
    #[must_use]
    pub fn find(file: Option<&Path>) -> Self {
        let default_file = Path::new("assize.toml");
        let beside = file.unwrap_or(default_file).with_file_name("assize.d");
        let version_file = beside.join(concat!(env!("CARGO_PKG_VERSION"), ".toml"));
        let credentials = std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from);
        Self {
            file: file.or_else(|| default_file.exists().then_some(default_file)).map(Path::to_owned),
            version_file: version_file.exists().then_some(version_file),
            credentials: credentials.map_or_else(Vec::new, |folder| credentials_in(&folder)),
        }
    }

    /// Reads the files, each with its name.
    fn read(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let files = [&self.file, &self.version_file].into_iter().flatten();
        files
            .map(|file| match std::fs::read_to_string(file) {
                Ok(text) => Ok((file.display().to_string(), text)),
                Err(error) => Err(ConfigError::unreadable(file.clone(), error.to_string())),
            })
            .collect()
    }
}

/// The variable with which systemd names the folder of the credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The largest credential, in bytes.
const MAX_CREDENTIAL_BYTES: u64 = 16 * 1024;

/// The files of the folder that are named like a setting.
fn credentials_in(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let files = SETTINGS.iter().map(|setting| (setting.key, folder.join(setting.key)));
    files.filter(|(_, path)| path.is_file()).collect()
}

/// Reads a credential of this name that the service manager passed, without the line break at its end. `None` if there
/// is none.
///
/// # Errors
/// [`ConfigError`] if the file cannot be read or is too large.
pub fn credential(name: &str) -> Result<Option<String>, ConfigError> {
    let Some(folder) = std::env::var_os(CREDENTIALS_DIRECTORY) else { return Ok(None) };
    let path = Path::new(&folder).join(name);
    if path.is_file() { read_credential(&path).map(Some) } else { Ok(None) }
}

fn read_credential(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |reason: String| ConfigError::unreadable(path.to_owned(), reason);
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_CREDENTIAL_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > MAX_CREDENTIAL_BYTES {
        return Err(unreadable(format!("it has more than {MAX_CREDENTIAL_BYTES} bytes")));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl Config {
    /// Reads `file` (or `assize.toml` in the current folder, if there is one), the file of this version, the
    /// credentials, and then the environment.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or variable, the key and what the value must be.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let files = SettingsFiles::find(file);
        Self::from_sources(&files.read()?, &files.credentials, std::env::vars_os())
    }

    /// Merges texts of files, each with its name, then credentials, then variables.
    fn from_sources(
        texts: &[(String, String)],
        credentials: &[(&'static str, PathBuf)],
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        for (name, text) in texts {
            builder = builder.add_source(Layer::file(name, text)?);
        }
        let settings: Self = builder
            .add_source(Layer::credentials(credentials)?)
            .add_source(Layer::environment(environment)?)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|_| ConfigError::not_toml("the settings", "they do not have their types".to_owned()))?;
        settings.check()?;
        Ok(settings)
    }
}

/// Describes where a file is not TOML. The error's own text quotes the line, which may hold a password.
fn syntax_error(text: &str, error: config::ConfigError) -> String {
    let config::ConfigError::FileParse { cause, .. } = error else {
        return "the file is not TOML".to_owned();
    };
    cause.downcast_ref::<toml::de::Error>().map_or_else(
        || "a value is not one that TOML has".to_owned(),
        |error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            format!("line {}: {}", before.matches('\n').count() + 1, error.message().replace('\n', " "))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_sources(&[("assize.toml".to_owned(), text.to_owned())], &[], variables(environment))
    }

    fn load_from(files: &SettingsFiles, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_sources(&files.read()?, &files.credentials, variables(environment))
    }

    fn variables(environment: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        environment.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)))
    }

    #[test]
    fn the_file_of_this_version_outranks_the_file_and_no_other_version_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("assize.toml");
        std::fs::write(&file, "worker_slots = 3\ninstance = \"one\"").unwrap();
        std::fs::create_dir(folder.path().join("assize.d")).unwrap();
        std::fs::write(folder.path().join("assize.d/999.0.0.toml"), "no_such_setting = 1").unwrap();
        let files = SettingsFiles::find(Some(&file));
        assert_eq!(files.version_file, None);
        assert_eq!(load_from(&files, &[]).unwrap().worker_slots, 3);

        let own = folder.path().join(concat!("assize.d/", env!("CARGO_PKG_VERSION"), ".toml"));
        std::fs::write(&own, "worker_slots = 4").unwrap();
        let files = SettingsFiles::find(Some(&file));
        assert_eq!(files.version_file.as_deref(), Some(own.as_path()));
        let config = load_from(&files, &[]).unwrap();
        assert_eq!((config.worker_slots, config.instance.as_str()), (4, "one"));
        std::fs::write(&own, "worker_slot = 4").unwrap();
        let error = load_from(&files, &[]).unwrap_err().to_string();
        assert!(error.starts_with("unknown setting worker_slot in ") && error.contains("assize.d/"), "{error}");
    }

    #[test]
    fn a_credential_sets_the_setting_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
        write("database_url", b"postgres://u:hunter2@h/d\n");
        write("aws_secret_access_key", b"not a setting");
        let credentials = credentials_in(folder.path());
        let files = SettingsFiles { credentials, ..SettingsFiles::default() };
        assert_eq!(load_from(&files, &[]).unwrap().database_url, "postgres://u:hunter2@h/d");
        let outranked = load_from(&files, &[("ASSIZE_DATABASE_URL", "postgres://x")]).unwrap();
        assert_eq!(outranked.database_url, "postgres://x");

        write("worker_slots", b"hunter2");
        let files = SettingsFiles { credentials: credentials_in(folder.path()), ..files };
        let error = load_from(&files, &[]).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("worker_slots must be a whole number"), "{error}");
        write("worker_slots", &vec![b'1'; 20_000]);
        let error = load_from(&files, &[]).unwrap_err().to_string();
        assert!(error.ends_with("it has more than 16384 bytes"), "{error}");
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
        let case = load("Worker_Slots = 3", &[]).unwrap_err().to_string();
        assert_eq!(case, "unknown setting Worker_Slots in assize.toml; did you mean worker_slots?");
        let table = load("[worker_slots]\nnumber = 3", &[]).unwrap_err().to_string();
        assert!(table.starts_with("assize.toml: worker_slots must be a whole number "), "{table}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_its_source() {
        let error = load("", &[("ASSIZE_WORKER_SLOTS", "many")]).unwrap_err().to_string();
        assert!(error.starts_with("ASSIZE_WORKER_SLOTS: "), "{error}");
        let error = load("", &[("ASSIZE_MAX_ARCHIVE_BYTES", "0")]).unwrap_err().to_string();
        assert_eq!(error, "setting max_archive_bytes is 0, it must be at least 1");
        let error = load("run_retention_days = 36501", &[]).unwrap_err().to_string();
        assert_eq!(error, "setting run_retention_days is 36501, it must be at most 36500");
        let error = load("cells_cpu_weight = 10001", &[]).unwrap_err().to_string();
        assert_eq!(error, "setting cells_cpu_weight is 10001, it must be 1 to 10000");
        let error = load("cells_cpuset = \"0-\"", &[]).unwrap_err().to_string();
        assert_eq!(error, "setting cells_cpuset is \"0-\", it must be empty, none, or like 0-3,8");
    }

    #[test]
    fn an_environment_value_has_the_type_of_its_setting() {
        let environment = [
            ("ASSIZE_CELLS_CPUSET", "3"),
            ("ASSIZE_INSTANCE", "2026"),
            ("ASSIZE_RUNTIME", "true"),
            ("ASSIZE_SPOOL_DIR", "0123"),
            ("ASSIZE_MAX_ARCHIVE_BYTES", "5000000000"),
            ("ASSIZE_LOG_FORMAT", "json"),
        ];
        let config = load("", &environment).unwrap();
        assert_eq!((config.cells_cpuset.as_str(), config.instance.as_str()), ("3", "2026"));
        assert_eq!((config.runtime.as_str(), config.spool_dir.as_path()), ("true", Path::new("0123")));
        assert_eq!((config.max_archive_bytes, config.log_format), (5_000_000_000, super::super::LogFormat::Json));
        for (variable, value) in [
            ("ASSIZE_WORKER_SLOTS", "yes"),
            ("ASSIZE_WORKER_SLOTS", "-1"),
            ("ASSIZE_WORKER_SLOTS", "4294967296"),
            ("ASSIZE_WORKER_SLOTS", "1.5"),
            ("ASSIZE_LOG_FORMAT", "xml"),
        ] {
            let error = load("", &[(variable, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable}: ")), "{error}");
        }
    }

    #[test]
    fn a_file_value_has_the_type_of_its_setting() {
        for text in ["worker_slots = \"3\"", "worker_slots = 3.7", "worker_slots = true", "worker_slots = -1"] {
            let error = load(text, &[]).unwrap_err().to_string();
            let expected = "assize.toml: worker_slots must be a whole number from 0 to 4294967295; \
                            docs/configuration.md lists every setting";
            assert_eq!(error, expected, "{text}");
        }
        assert!(load("database_url = 5", &[("ASSIZE_DATABASE_URL", "postgres://x")]).is_err());
        let config = load("max_queued = 100_000\nmax_unpacked_bytes = 0x10_0000\nlog_format = \"text\"", &[]).unwrap();
        assert_eq!((config.max_queued, config.max_unpacked_bytes), (100_000, 1 << 20));
    }

    #[test]
    fn no_error_quotes_what_may_be_a_password() {
        const SECRET: &str = "hunter2";
        for text in [
            "instance = \"x\"\ndatabase_url = \"postgres://u:hunter2@h/d",
            "database_url = hunter2",
            "worker_slots = \"hunter2\"",
            "log_format = \"hunter2\"",
            "database_url = [\"hunter2\"]",
        ] {
            let error = load(text, &[]).unwrap_err().to_string();
            assert!(!error.contains(SECRET) && error.starts_with("assize.toml: "), "{error}");
            assert!(error.ends_with("; docs/configuration.md lists every setting"), "{error}");
        }
        let error = load("", &[("ASSIZE_WORKER_SLOTS", SECRET)]).unwrap_err().to_string();
        assert!(!error.contains(SECRET), "{error}");
        let error = load("instance = \"x\"\nlog = = 5", &[]).unwrap_err();
        assert!(error.problem.to_string().starts_with("assize.toml: line 2: "), "{error}");
    }

    #[test]
    fn every_setting_is_listed_once() {
        let fields = toml::Table::try_from(Config::default()).unwrap();
        let listed: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        let mut missing: Vec<_> = fields.keys().filter(|key| !listed.contains(&key.as_str())).collect();
        missing.dedup();
        assert!(missing.is_empty() && listed.len() == fields.len(), "not listed: {missing:?}");
    }

    #[test]
    fn every_default_is_in_its_range() {
        Config::default().check().unwrap();
    }
}
