//! The `[archive]` section of a template: what projects may be handed in.

use serde::Deserialize;

use assize_archive::{FileTypes, NameStyle, ScanLimits};
use assize_config::Config;
use assize_protocol::names::NameRules;

/// Limits of a template's own, tighter than those of the installation.
///
/// A template only tightens: where it gives a number, the smaller of its own and the configuration's holds. So an
/// operator's setting is a ceiling whatever the templates say, and a template goes from one installation to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveRules {
    pub max_bytes: Option<u64>,
    pub max_entries: Option<u64>,
    pub max_unpacked_bytes: Option<u64>,
    pub max_ratio: Option<u64>,
    pub max_name_bytes: Option<u64>,
    pub max_depth: Option<u64>,
    pub allow: Vec<String>,
    pub deny: Vec<String>,
    pub deny_content: Vec<assize_protocol::content::Content>,
    /// What is neither unpacked nor refused, in place of the default list.
    pub ignore: Option<Vec<String>>,
    /// What marks the project's folder.
    pub root: Vec<String>,
    /// Which names are accepted.
    pub names: NameStyle,
}

impl ArchiveRules {
    /// What must hold of the section.
    ///
    /// # Errors
    /// The key, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("max_bytes", self.max_bytes),
            ("max_entries", self.max_entries),
            ("max_unpacked_bytes", self.max_unpacked_bytes),
            ("max_ratio", self.max_ratio),
            ("max_name_bytes", self.max_name_bytes),
            ("max_depth", self.max_depth),
        ];
        if let Some((key, _)) = numbers.into_iter().find(|(_, number)| *number == Some(0)) {
            return Err(format!("archive.{key} is 0, it must be at least 1"));
        }
        self.name_rules().check()?;
        self.types().check()
    }

    /// What the scan holds an archive to, whatever cell it is for.
    #[must_use]
    pub fn limits(&self, config: &Config) -> ScanLimits {
        let fixed = ScanLimits::default();
        let least = |own: Option<u64>, ceiling: u64| own.map_or(ceiling, |own| own.min(ceiling));
        ScanLimits {
            max_archive_bytes: least(self.max_bytes, config.max_archive_bytes),
            max_entries: least(self.max_entries, config.max_archive_entries),
            max_unpacked_bytes: least(self.max_unpacked_bytes, config.max_unpacked_bytes),
            max_ratio: least(self.max_ratio, config.max_archive_ratio),
            max_name_bytes: least(self.max_name_bytes, fixed.max_name_bytes),
            max_depth: least(self.max_depth, fixed.max_depth),
            types: self.types(),
            names: self.name_rules(),
            style: self.names,
            room: fixed.room,
        }
    }

    /// How names are read.
    #[must_use]
    pub fn name_rules(&self) -> NameRules {
        let default = NameRules::default();
        NameRules { ignore: self.ignore.clone().unwrap_or(default.ignore), root: self.root.clone() }
    }

    fn types(&self) -> FileTypes {
        FileTypes { allow: self.allow.clone(), deny: self.deny.clone(), deny_content: self.deny_content.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ArchiveRules, String> {
        let rules: ArchiveRules = toml::from_str(text).map_err(|error| error.to_string())?;
        rules.check().map(|()| rules)
    }

    #[test]
    fn a_template_tightens_and_never_loosens() {
        let rules = read("max_bytes = 1000\nmax_ratio = 900\nmax_depth = 500\nallow = [\".py\"]").unwrap();
        let config = Config { max_archive_bytes: 5000, max_archive_ratio: 100, ..Config::default() };
        let limits = rules.limits(&config);
        assert_eq!((limits.max_archive_bytes, limits.max_ratio, limits.max_depth), (1000, 100, 32));
        assert_eq!((limits.max_entries, limits.types.allow), (config.max_archive_entries, vec![".py".to_owned()]));
        let none = ArchiveRules::default().limits(&config);
        assert_eq!((none.max_archive_bytes, none.max_unpacked_bytes), (5000, config.max_unpacked_bytes));
    }

    #[test]
    fn a_list_replaces_the_default_one() {
        let limits = |text: &str| read(text).unwrap().limits(&Config::default());
        assert_eq!((limits("").names, limits("").style), (NameRules::default(), NameStyle::Linux));
        let own = limits("ignore = [\"*.o\", \"Icon\\r\"]\nroot = [\"Makefile\", \"src/\"]\nnames = \"portable\"");
        assert_eq!(own.names.ignore, ["*.o", "Icon\r"]);
        assert_eq!((own.names.root.len(), own.style), (2, NameStyle::Portable));
        assert!(limits("ignore = []").names.ignore.is_empty());
    }

    #[test]
    fn a_wrong_key_or_value_is_named() {
        for (text, word) in [
            ("max_entries = 0", "archive.max_entries is 0"),
            ("max_size = 1", "max_size"),
            ("max_bytes = -1", "max_bytes"),
            ("deny = [\"*.exe\"]", "archive.deny has \"*.exe\""),
            ("deny_content = [\"virus\"]", "virus"),
            ("ignore = [\"a/b\"]", "archive.ignore has \"a/b\""),
            ("root = [\"*\"]", "archive.root has \"*\""),
            ("names = \"dos\"", "dos"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(read("deny_content = [\"program\", \"archive\"]").is_ok());
    }
}
