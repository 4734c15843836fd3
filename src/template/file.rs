//! `template.toml` as it is written, and what must hold of it.

use serde::Deserialize;

use super::{ArchiveRules, Driver, Limits, Results, Stage};
use crate::run::{Class, StageName};
use crate::verdict::{self, Format};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) description: String,
    pub(super) class: Class,
    pub(super) image: String,
    pub(super) runtime: Option<String>,
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) archive: ArchiveRules,
    pub(super) stages: Vec<Stage>,
    pub(super) driver: Option<Driver>,
    pub(super) results: Results,
    pub(super) global: Global,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Global {
    pub(super) timeout_s: u64,
}

impl File {
    /// What must hold of a template beyond its shape.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub(super) fn check(&self) -> Result<(), String> {
        self.limits.check("limits")?;
        self.archive.check()?;
        // What is longer the parser would refuse: see [`verdict::Limits`].
        let most_kib = verdict::Limits::default().bytes as u64 / 1024;
        if !(1..=most_kib).contains(&self.results.max_kib) {
            return Err(format!("results.max_kib is {}, it must be 1 to {most_kib}", self.results.max_kib));
        }
        if self.stages.is_empty() || self.stages.iter().any(|stage| stage.command.is_empty()) {
            return Err("every template has at least one stage, and every stage a command".to_owned());
        }
        if self.stages.iter().any(|stage| stage.name == StageName::Fetch) {
            return Err("no template has a stage fetch: repositories are fetched in a cell of their own".to_owned());
        }
        if self.stages.windows(2).any(|pair| pair[0].name >= pair[1].name) {
            return Err("stages must come in the order install, build, start, tests, each at most once".to_owned());
        }
        if let Some(wrong) = self.stages.iter().find(|stage| stage.ready.is_some() != (stage.name == StageName::Start))
        {
            return Err(format!("stage {}: the start stage, and only it, has `ready`", wrong.name));
        }
        let before_the_tests = |stage: &Stage| matches!(stage.name, StageName::Install | StageName::Build);
        if let Some(wrong) = self.stages.iter().find(|stage| !stage.egress.is_empty() && !before_the_tests(stage)) {
            return Err(format!("stage {}: only install and build may have `egress`", wrong.name));
        }
        if let Some(wrong) = self.stages.iter().find(|stage| stage.egress_quota.is_some() && stage.egress.is_empty()) {
            return Err(format!("stage {}: `egress_quota` without `egress`", wrong.name));
        }
        let has_tests = self.stages.iter().any(|stage| stage.name == StageName::Tests);
        match &self.driver {
            Some(_) if has_tests => return Err("with a [driver] there is no tests stage: the driver tests".to_owned()),
            None if !has_tests => return Err("without a [driver] the last stage must be tests".to_owned()),
            Some(driver) => {
                driver.limits.check("driver.limits")?;
                if driver.command.is_empty() {
                    return Err("driver.command is empty".to_owned());
                }
                if self.stages.iter().all(|stage| stage.ready.is_none()) {
                    return Err("with a [driver] there must be a start stage for it to test".to_owned());
                }
            }
            None => {}
        }
        if self.results.format == Format::ExitCode && self.results.expect_tests.is_some() {
            return Err("results.expect_tests has no meaning for exit_code".to_owned());
        }
        match (&self.results.format, &self.results.path) {
            (Format::ExitCode, Some(_)) => Err("results.path has no meaning for exit_code".to_owned()),
            (Format::ExitCode, None) => Ok(()),
            (_, Some(path)) if path.starts_with('/') => Ok(()),
            _ => Err("results.path must be an absolute path in the cell that decides".to_owned()),
        }
    }
}

impl Limits {
    fn check(&self, name: &str) -> Result<(), String> {
        let ranges = [
            ("memory_mib", self.memory_mib, 16, 1 << 20),
            ("pids", self.pids, 4, 32_768),
            ("workspace_mib", self.workspace_mib, 1, 1 << 20),
            ("workspace_inodes", self.workspace_inodes, 16, 10_000_000),
            ("tmp_mib", self.tmp_mib, 1, 1 << 20),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(format!("{name}.{key} is {value}, it must be {least} to {most}"));
            }
        }
        if !(0.05..=256.0).contains(&self.cpus) {
            return Err(format!("{name}.cpus is {}, it must be 0.05 to 256", self.cpus));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::template::{Template, TemplateError};

    const GOOD: &str = r#"
        description = "d"
        class = "A"
        image = "i"
        limits = { cpus = 1.0, memory_mib = 64, pids = 16, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 }
        stages = [{ name = "tests", command = ["true"], timeout_s = 1 }]
        results = { format = "exit_code" }
        global = { timeout_s = 10 }
    "#;

    fn load(text: &str) -> Result<Template, TemplateError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("template.toml"), text).unwrap();
        std::fs::create_dir(folder.path().join("tests")).unwrap();
        std::fs::write(folder.path().join("tests/check.sh"), "true").unwrap();
        Template::load(folder.path())
    }

    #[test]
    fn the_same_files_give_the_same_digest() {
        assert_eq!(load(GOOD).unwrap().digest, load(GOOD).unwrap().digest);
        assert_ne!(load(GOOD).unwrap().digest, load(&GOOD.replace("\"d\"", "\"e\"")).unwrap().digest);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = load(&format!("{GOOD}\n surprise = 1")).unwrap_err().to_string();
        assert!(error.contains("surprise"), "{error}");
    }

    #[test]
    fn a_limit_out_of_range_names_it() {
        let error = load(&GOOD.replace("pids = 16", "pids = 1")).unwrap_err().to_string();
        assert!(error.contains("limits.pids is 1, it must be 4 to 32768"), "{error}");
    }

    #[test]
    fn results_are_no_longer_than_what_is_parsed() {
        let error = load(&GOOD.replace("\"exit_code\"", "\"exit_code\", max_kib = 1025")).unwrap_err().to_string();
        assert!(error.contains("results.max_kib is 1025, it must be 1 to 1024"), "{error}");
    }

    #[test]
    fn only_install_and_build_reach_anything() {
        let egress = r#"timeout_s = 1, egress = [{ host = "a.example", port = 443 }]"#;
        let error = load(&GOOD.replace("timeout_s = 1 }", &format!("{egress} }}"))).unwrap_err().to_string();
        assert!(error.contains("stage tests: only install and build may have `egress`"), "{error}");
        let stages = format!(r#"stages = [{{ name = "install", command = ["true"], {egress} }},"#);
        let template = load(&GOOD.replace("stages = [", &stages)).unwrap();
        assert_eq!((template.stages[0].egress.len(), template.stages[1].egress.len()), (1, 0));
        let error =
            load(&GOOD.replace("timeout_s = 1 }", "timeout_s = 1, egress_quota = { connections = 1, mib = 1 } }"));
        assert!(error.unwrap_err().to_string().contains("`egress_quota` without `egress`"));
    }

    #[test]
    fn without_a_driver_the_tests_stage_is_needed() {
        let error = load(&GOOD.replace("\"tests\"", "\"build\"")).unwrap_err().to_string();
        assert!(error.contains("the last stage must be tests"), "{error}");
    }
}
