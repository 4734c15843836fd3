//! The section `[artifacts]` of a template: which files a run hands out.

use assize_cell::Role;
use assize_cell::spec::{TMP, WORKSPACE};
use assize_domain::verdict::Visibility;
use assize_protocol::artifacts::{
    ArtifactRules, MAX_BYTES, MAX_FILES, MAX_PATTERNS, Pattern, extensions, media_type_of,
};
use serde::Deserialize;

/// The most KiB of the artifacts of one cell.
const MAX_KIB: u64 = MAX_BYTES / 1024;

/// The files that a run hands out, from each of its cells. The limits hold for each cell by itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Artifacts {
    /// Patterns for paths in the driver's cell.
    pub driver: Vec<String>,
    /// Patterns for paths in the project's cell.
    pub subject: Vec<String>,
    pub max_files: u32,
    /// All files of a cell together.
    pub max_kib: u64,
    /// Extensions of the files; all that there are by default.
    pub kinds: Vec<String>,
    /// Who may see them.
    pub visibility: Visibility,
}

impl Default for Artifacts {
    fn default() -> Self {
        Self {
            driver: Vec::new(),
            subject: Vec::new(),
            max_files: 16,
            max_kib: 8 * 1024,
            kinds: extensions().map(str::to_owned).collect(),
            visibility: Visibility::Visible,
        }
    }
}

impl Artifacts {
    /// What must hold of the section.
    ///
    /// # Errors
    /// The key, what was wrong with it, and what to do.
    pub(super) fn check(&self, has_driver: bool) -> Result<(), String> {
        if !has_driver && !self.driver.is_empty() {
            return Err(
                "artifacts.driver has no meaning without a [driver]; name the files in artifacts.subject".to_owned()
            );
        }
        check_patterns("artifacts.driver", &self.driver)?;
        check_patterns("artifacts.subject", &self.subject)?;
        if !(1..=MAX_FILES).contains(&self.max_files) {
            return Err(format!(
                "artifacts.max_files is {}, it must be 1 to {MAX_FILES}; choose another number",
                self.max_files
            ));
        }
        if !(1..=MAX_KIB).contains(&self.max_kib) {
            return Err(format!("artifacts.max_kib is {}, it must be 1 to {MAX_KIB}; choose another", self.max_kib));
        }
        if self.kinds.is_empty() {
            return Err("artifacts.kinds is empty, so that nothing is handed out; remove it".to_owned());
        }
        if let Some(unknown) = self.kinds.iter().find(|kind| media_type_of(kind).is_none()) {
            let known = extensions().collect::<Vec<_>>().join(", ");
            return Err(format!("artifacts.kinds has {unknown:?}; use some of: {known}"));
        }
        if !matches!(self.visibility, Visibility::Visible | Visibility::Hidden) {
            return Err("artifacts.visibility must be visible or hidden; choose one of them".to_owned());
        }
        Ok(())
    }

    /// What the cell of this role hands out, if it hands out anything.
    #[must_use]
    pub fn rules_of(&self, role: Role) -> Option<ArtifactRules> {
        let patterns = match role {
            Role::Driver => &self.driver,
            Role::Subject => &self.subject,
            Role::Fetch => return None,
        };
        (!patterns.is_empty()).then(|| ArtifactRules {
            patterns: patterns.clone(),
            max_files: self.max_files,
            max_bytes: self.max_kib * 1024,
            extensions: self.kinds.clone(),
        })
    }

    /// Bytes that the cell of this role may hand out.
    #[must_use]
    pub fn bytes_of(&self, role: Role) -> u64 {
        self.rules_of(role).map_or(0, |rules| rules.max_bytes)
    }
}

fn check_patterns(key: &str, patterns: &[String]) -> Result<(), String> {
    if patterns.len() > MAX_PATTERNS {
        return Err(format!("{key} has {} patterns, the limit is {MAX_PATTERNS}; use `*` or `**`", patterns.len()));
    }
    for text in patterns {
        let pattern = Pattern::parse(text).map_err(|why| format!("{key}: {why}; correct the pattern"))?;
        let is_beneath =
            |folder: &str| pattern.folder().first().is_some_and(|first| folder.get(1..) == Some(first.as_str()));
        if !is_beneath(WORKSPACE) && !is_beneath(TMP) {
            return Err(format!(
                "{key} has {text:?}; begin each pattern with {WORKSPACE}/ or {TMP}/, where stages may write"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Artifacts, String> {
        let artifacts: Artifacts = toml::from_str(text).map_err(|error| error.to_string())?;
        artifacts.check(true).map(|()| artifacts)
    }

    #[test]
    fn without_the_section_nothing_is_handed_out() {
        let none = read("").unwrap();
        assert_eq!(
            (none.rules_of(Role::Driver), none.rules_of(Role::Subject), none.check(false)),
            (None, None, Ok(()))
        );
        assert_eq!(none.bytes_of(Role::Driver), 0);
    }

    #[test]
    fn each_cell_hands_out_what_is_named_for_it() {
        let artifacts =
            read("driver = [\"/workspace/out/**\"]\nsubject = [\"/tmp/*.log\"]\nkinds = [\"png\", \"log\"]\n").unwrap();
        let rules = artifacts.rules_of(Role::Driver).unwrap();
        assert_eq!((rules.max_files, rules.max_bytes, rules.extensions.len()), (16, 8 << 20, 2));
        assert_eq!((rules.check(), rules.patterns), (Ok(()), vec!["/workspace/out/**".to_owned()]));
        assert_eq!(artifacts.rules_of(Role::Subject).unwrap().patterns, ["/tmp/*.log"]);
        assert_eq!(artifacts.rules_of(Role::Fetch), None);
        let most =
            read("driver = [\"/tmp/a.txt\"]\nmax_files = 256\nmax_kib = 65536\nvisibility = \"hidden\"").unwrap();
        assert_eq!(most.rules_of(Role::Driver).unwrap().check(), Ok(()));
    }

    #[test]
    fn a_wrong_key_or_value_is_named() {
        let many = format!("subject = [{}]", "\"/tmp/a\",".repeat(33));
        let long = format!("subject = [\"/tmp/{}\"]", "a".repeat(252));
        for (text, why) in [
            ("driver = [\"out/**\"]", "artifacts.driver: \"out/**\" is not an absolute path"),
            (
                "driver = [\"/workspace/../etc/passwd\"]",
                "artifacts.driver: \"/workspace/../etc/passwd\" has a component",
            ),
            (
                "subject = [\"/etc/passwd\"]",
                "artifacts.subject has \"/etc/passwd\"; begin each pattern with /workspace/",
            ),
            ("subject = [\"/**/a.png\"]", "begin each pattern with"),
            ("subject = [\"/workspace\"]", "begin each pattern with"),
            ("subject = [\"/work*/a.png\"]", "begin each pattern with"),
            ("subject = [\"/workspace/a**\"]", "`**` beside"),
            (&many, "artifacts.subject has 33 patterns, the limit is 32"),
            (&long, "has 257 bytes, the limit is 256"),
            ("max_files = 0", "artifacts.max_files is 0, it must be 1 to 256"),
            ("max_files = 257", "artifacts.max_files is 257"),
            ("max_kib = 0", "artifacts.max_kib is 0, it must be 1 to 65536"),
            ("max_kib = 65537", "artifacts.max_kib is 65537"),
            ("kinds = []", "artifacts.kinds is empty"),
            ("kinds = [\"exe\"]", "artifacts.kinds has \"exe\"; use some of: png, jpg"),
            ("kinds = [\".png\"]", "artifacts.kinds has \".png\""),
            ("visibility = \"after_due_date\"", "artifacts.visibility must be visible or hidden"),
            ("visibility = \"secret\"", "unknown variant"),
            ("max_mib = 1", "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let without_driver = read("driver = [\"/workspace/out/**\"]").unwrap().check(false).unwrap_err();
        assert!(without_driver.contains("artifacts.driver has no meaning without a [driver]"), "{without_driver}");
    }
}
