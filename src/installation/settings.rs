//! The settings that the processes of one installation run with.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Settings by name, in lower case and without the prefix `ASSIZE_`. Each name has one value: the last one that was
/// set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Returns the settings for what lies in the folder of an installation: archives, uploads and the signing key.
    #[must_use]
    pub fn in_folder(root: &Path) -> Self {
        Self::default()
            .with("blob_url", format!("file:{}", root.join("blobs").display()))
            .with("spool_dir", root.join("spool").display())
            .with("warden_store_dir", root.join("wardens").display())
            .with("signing_key_file", Self::signing_key_file(root).display())
    }

    /// Returns the file of the signing key in the folder of an installation.
    #[must_use]
    pub fn signing_key_file(root: &Path) -> PathBuf {
        root.join("signing.key")
    }

    /// Sets a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    /// Disables the limits that depend on the host: a full disk and a busy processor or memory do not keep a worker
    /// from claiming. Tests and attacks must not depend on what else the host does.
    #[must_use]
    pub fn ignoring_host_load(self) -> Self {
        ["min_free_disk_mib", "min_available_memory_mib", "max_memory_pressure", "max_io_pressure"]
            .into_iter()
            .fold(self, |settings, name| settings.with(name, 0))
    }

    /// Returns these settings, with the values of `other` where both have one.
    #[must_use]
    pub fn overridden_by(mut self, other: &Self) -> Self {
        self.0.extend(other.0.clone());
        self
    }

    /// Returns the value of a setting, if it was set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns each name with its value, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the environment variables that carry the settings to a process.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|(name, value)| (format!("ASSIZE_{}", name.to_uppercase()), value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_setting_counts() {
        let settings = Settings::in_folder(Path::new("/data")).with("worker_slots", 1);
        let settings = settings.overridden_by(&Settings::default().with("worker_slots", 2).with("spool_dir", "/spool"));
        assert_eq!(settings.get("worker_slots"), Some("2"));
        assert_eq!(settings.get("spool_dir"), Some("/spool"));
        assert_eq!(settings.get("blob_url"), Some("file:/data/blobs"));
    }

    #[test]
    fn every_setting_becomes_a_variable() {
        let variables: Vec<_> = Settings::default().with("worker_slots", 2).variables().collect();
        assert_eq!(variables, [("ASSIZE_WORKER_SLOTS".to_owned(), "2".to_owned())]);
    }
}
