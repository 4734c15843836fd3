//! `template.toml` as it is written, and what must hold of it.

use serde::Deserialize;

use super::{
    ArchiveRules, Artifacts, Driver, DriverKind, ExtraCredit, OnDriverFailure, Parameters, Reached, Results, Stage,
};
use assize_domain::limits::CellLimits;
use assize_domain::run::{Class, StageName};
use assize_domain::verdict::{self, Format, TestRule};
use assize_protocol::results::ResultsPath;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) description: String,
    pub(super) class: Class,
    pub(super) image: String,
    pub(super) runtime: Option<String>,
    pub(super) limits: CellLimits,
    #[serde(default)]
    pub(super) archive: ArchiveRules,
    pub(super) stages: Vec<Stage>,
    pub(super) driver: Option<Driver>,
    pub(super) results: Option<Results>,
    #[serde(default)]
    pub(super) tests: Vec<TestRule>,
    #[serde(default)]
    pub(super) parameters: Parameters,
    #[serde(default)]
    pub(super) artifacts: Artifacts,
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
        self.artifacts.check(self.driver.is_some())?;
        let is_called = self.driver.as_ref().is_some_and(Driver::is_calling);
        if (self.stages.is_empty() && !is_called) || self.stages.iter().any(|stage| stage.command.is_empty()) {
            return Err("the template has no stage, or a stage without a command; give it at least one stage, and each stage a command".to_owned());
        }
        if self.stages.iter().any(|stage| stage.name == StageName::Fetch) {
            return Err("no template has a stage fetch: repositories are fetched in a cell of their own".to_owned());
        }
        if self.stages.windows(2).any(|pair| pair[0].name >= pair[1].name) {
            return Err("stages must come in the order install, build, start, tests, each at most once".to_owned());
        }
        if let Some(wrong) = self.stages.iter().find(|stage| stage.ready.is_some() != (stage.name == StageName::Start))
        {
            return Err(format!("stage {}: `ready` must be set in the start stage and in no other", wrong.name));
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
                driver.check_kind()?;
                driver.check_subject(self.stages.iter().any(|stage| stage.ready.is_some()))?;
            }
            None => {}
        }
        match (&self.results, self.driver.as_ref().map(|driver| driver.kind)) {
            (None, Some(DriverKind::Cases)) if self.tests.is_empty() => Ok(()),
            (None, Some(DriverKind::Cases)) => {
                Err("[[tests]] has no meaning with driver.kind = \"cases\": each case has its points; remove it"
                    .to_owned())
            }
            (Some(_), Some(DriverKind::Cases)) => {
                Err("results has no meaning with driver.kind = \"cases\": the cases decide; remove it".to_owned())
            }
            (None, _) => Err(super::marking::no_results()),
            (Some(results), _) => {
                results.check(self.driver.is_some(), self.tests.is_empty())?;
                self.marked_results().map(drop)
            }
        }
    }
}

impl Driver {
    /// What must hold of what runs in its cell.
    fn check_kind(&self) -> Result<(), String> {
        let meaningless = |key: &str, kind: &str| {
            Err(format!("driver.{key} has no meaning {kind} driver.kind = \"cases\"; remove it"))
        };
        match self.kind {
            DriverKind::Command if self.command.is_empty() => Err("driver.command is empty".to_owned()),
            DriverKind::Command if !self.program.is_empty() => meaningless("program", "without"),
            DriverKind::Command if !self.checker.is_empty() => meaningless("checker", "without"),
            DriverKind::Cases if !self.command.is_empty() => meaningless("command", "with"),
            DriverKind::Cases if !(1..=600).contains(&self.checker_timeout_s) => Err(format!(
                "driver.checker_timeout_s is {}, it must be 1 to 600; choose another",
                self.checker_timeout_s
            )),
            _ => Ok(()),
        }
    }
}

impl Results {
    /// What must hold of the results.
    pub(super) fn check(&self, has_driver: bool, is_unweighted: bool) -> Result<(), String> {
        // What is longer no worker would hold.
        let most_kib = verdict::MAX_REPORT_BYTES / 1024;
        if !(1..=most_kib).contains(&self.max_kib) {
            return Err(format!("results.max_kib is {}, it must be 1 to {most_kib}", self.max_kib));
        }
        self.check_scale(has_driver, is_unweighted)?;
        self.check_progress()?;
        match (&self.format, &self.path) {
            (Format::ExitCode, Some(_)) => Err("results.path has no meaning for exit_code".to_owned()),
            (Format::ExitCode, None) => Ok(()),
            (_, Some(path)) if path.starts_with('/') => self.check_path(path),
            _ => Err("results.path must be an absolute path in the cell that decides".to_owned()),
        }
    }
}

impl Driver {
    /// What must hold of the way to the project.
    fn check_subject(&self, has_service: bool) -> Result<(), String> {
        match if self.is_calling() { Reached::Exec } else { Reached::Service } {
            Reached::Service if !has_service => Err(
                "with a [driver] there must be a start stage for it to test, or driver.subject = \"exec\" to call programs"
                    .to_owned(),
            ),
            Reached::Service if self.fresh => {
                Err("driver.fresh has no meaning without driver.subject = \"exec\"; remove it".to_owned())
            }
            Reached::Exec if has_service => Err(
                "with driver.subject = \"exec\" there is no start stage: the driver calls programs; remove it".to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

impl Results {
    /// What must hold of a path that names several files.
    fn check_path(&self, path: &str) -> Result<(), String> {
        let pattern = ResultsPath::parse(path).map_err(|why| format!("results.path: {why}"))?;
        if let ResultsPath::File(_) = pattern {
            return Ok(());
        }
        if self.format == Format::Gradescope {
            return Err(format!("results.path is {path:?}, but a report in gradescope is one file; name the file"));
        }
        if !self.scale().is_known() {
            return Err(format!(
                "results.path is {path:?} and may match several files; set results.expect_tests, so that a file that \
                 is missing is noticed"
            ));
        }
        Ok(())
    }

    /// What must hold of the scale.
    fn check_scale(&self, has_driver: bool, is_unweighted: bool) -> Result<(), String> {
        /// More is a slip: what reports say is held to the same.
        const MAX_POINTS: f64 = 1e9;
        let meaningless = |key: &str| Err(format!("results.{key} has no meaning for {}", self.format.as_str()));
        let has_points = self.format == Format::Gradescope;
        if self.format == Format::ExitCode {
            if self.expect_tests.is_some() {
                return meaningless("expect_tests");
            }
            if self.max_score.is_some() {
                return meaningless("max_score");
            }
        }
        if self.extra_credit != ExtraCredit::default() && !has_points {
            return meaningless("extra_credit");
        }
        if self.expect_tests == Some(0) {
            return Err("results.expect_tests is 0, it must be 1 or more".to_owned());
        }
        if let Some(points) = self.max_score
            && !(points > 0.0 && points <= MAX_POINTS)
        {
            return Err(format!("results.max_score is {points}, it must be more than 0 and at most {MAX_POINTS}"));
        }
        if let ExtraCredit::Points(points) = self.extra_credit
            && !(0.0..=MAX_POINTS).contains(&points)
        {
            return Err(format!("results.extra_credit is {points}, it must be true, false or 0 to {MAX_POINTS}"));
        }
        if let (false, true, Some(points), Some(tests)) = (has_points, is_unweighted, self.max_score, self.expect_tests)
            && points != f64::from(u32::try_from(tests).unwrap_or(u32::MAX))
        {
            return Err(format!(
                "results.max_score is {points} and results.expect_tests {tests}: in {} a test is one point",
                self.format.as_str()
            ));
        }
        if self.on_driver_failure == OnDriverFailure::ScoreZero {
            if !has_driver {
                return Err("results.on_driver_failure has no meaning without a [driver]".to_owned());
            }
            let is_known = match self.format {
                Format::ExitCode => true,
                Format::Gradescope => self.max_score.is_some(),
                _ => self.max_score.is_some() || self.expect_tests.is_some(),
            };
            if !is_known {
                let key = if has_points { "results.max_score" } else { "results.expect_tests" };
                return Err(format!("results.on_driver_failure = \"score_zero\" needs {key}: 0 of how many points?"));
            }
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
        let error = load(&GOOD.replace("\"exit_code\"", "\"exit_code\", max_kib = 16385")).unwrap_err().to_string();
        assert!(error.contains("results.max_kib is 16385, it must be 1 to 16384"), "{error}");
        let results = load(&GOOD.replace("\"exit_code\"", "\"exit_code\", max_kib = 16384")).unwrap().results;
        assert_eq!(results.reader(assize_domain::verdict::Integrity::Shared).limits.bytes, 16 * 1024 * 1024);
    }

    #[test]
    fn a_path_of_several_files_needs_a_known_number_of_tests() {
        let results = |text: &str| load(&GOOD.replace("{ format = \"exit_code\" }", &format!("{{ {text} }}")));
        for (text, why) in [
            ("format = \"junit\", path = \"/a/*.xml\"", "set results.expect_tests"),
            ("format = \"junit\", path = \"/*/a.xml\", expect_tests = 1", "`*` in a folder"),
            ("format = \"junit\", path = \"/a/**\", expect_tests = 1", "has `**`"),
            ("format = \"gradescope\", path = \"/a/*.json\", max_score = 1", "gradescope is one file"),
            ("format = \"junit\", path = \"a/*.xml\", expect_tests = 1", "must be an absolute path"),
        ] {
            let error = results(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(results("format = \"tap\", path = \"/a/*.tap\", expect_tests = 1").unwrap().results.has_pattern());
        assert!(!results("format = \"tap\", path = \"/a/b.tap\", expect_tests = 1").unwrap().results.has_pattern());
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

    #[test]
    fn a_scale_that_cannot_be_is_refused() {
        let results = |text: &str| load(&GOOD.replace("{ format = \"exit_code\" }", &format!("{{ {text} }}")));
        let gradescope = "format = \"gradescope\", path = \"/a\"";
        let tap = "format = \"tap\", path = \"/a\"";
        for (text, why) in [
            ("format = \"exit_code\", max_score = 1".to_owned(), "results.max_score has no meaning for exit_code"),
            (format!("{tap}, extra_credit = 1"), "results.extra_credit has no meaning for tap"),
            (format!("{tap}, expect_tests = 0"), "results.expect_tests is 0"),
            (format!("{gradescope}, max_score = 0"), "results.max_score is 0, it must be more than 0"),
            (format!("{gradescope}, max_score = nan"), "results.max_score is NaN"),
            (format!("{gradescope}, extra_credit = -1"), "results.extra_credit is -1"),
            (format!("{tap}, max_score = 9, expect_tests = 10"), "in tap a test is one point"),
            (format!("{tap}, on_driver_failure = \"score_zero\", expect_tests = 1"), "no meaning without a [driver]"),
            (format!("{tap}, on_driver_failure = \"pass\""), "on_driver_failure"),
        ] {
            let error = results(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let generous = results(&format!("{gradescope}, max_score = 12.5, extra_credit = true")).unwrap().results;
        let scale = assize_domain::verdict::Scale { max_score: Some(12.5), extra_credit: f64::INFINITY, tests: None };
        assert_eq!(generous.scale(), scale);
        assert_eq!(
            results(&format!("{tap}, max_score = 10, expect_tests = 10")).unwrap().results.scale().extra_credit,
            0.0
        );
    }

    #[test]
    fn a_driver_reaches_a_service_or_calls_programs() {
        let with = |driver: &str, stages: &str| {
            let driver = format!(
                "driver = {{ image = \"i\", command = [\"true\"], timeout_s = 1, {driver} limits = {{ cpus = 1.0, \
                 memory_mib = 64, pids = 16, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 }} }}\n"
            );
            let tests = r#"{ name = "tests", command = ["true"], timeout_s = 1 }"#;
            load(&format!("{driver}{}", GOOD.replace(tests, stages)))
        };
        let build = r#"{ name = "build", command = ["true"], timeout_s = 1 }"#;
        let start = r#"{ name = "start", command = ["true"], timeout_s = 1, ready = { port = 1 } }"#;
        let exec = "subject = \"exec\",";
        for (driver, stages, is_called) in [
            (exec, build, true),
            (exec, "", true),
            ("subject = \"exec\", fresh = true,", build, true),
            ("", start, false),
        ] {
            assert_eq!(with(driver, stages).unwrap().is_called(), is_called, "{driver} {stages}");
        }
        for (driver, stages, why) in [
            ("", build, "there must be a start stage"),
            ("", "", "the template has no stage"),
            ("fresh = true,", start, "driver.fresh has no meaning without"),
            (exec, start, "there is no start stage"),
            ("subject = \"ssh\",", build, "unknown variant"),
        ] {
            let error = with(driver, stages).unwrap_err().to_string();
            assert!(error.contains(why), "{driver} {stages}: {error}");
        }
    }

    #[test]
    fn a_driver_that_may_score_zero_has_a_scale() {
        let driver = "driver = { image = \"i\", command = [\"true\"], timeout_s = 1, limits = { cpus = 1.0, memory_mib = 64, \
            pids = 16, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 } }\n";
        let with = |results: &str| {
            let text = GOOD
                .replace("{ format = \"exit_code\" }", &format!("{{ {results}, on_driver_failure = \"score_zero\" }}"));
            let start = r#"{ name = "start", command = ["true"], timeout_s = 1, ready = { port = 1 } }"#;
            let tests = r#"{ name = "tests", command = ["true"], timeout_s = 1 }"#;
            load(&format!("{driver}{}", text.replace(tests, start)))
        };
        assert!(with("format = \"exit_code\"").is_ok());
        assert!(with("format = \"junit\", path = \"/a\", expect_tests = 3").is_ok());
        assert!(with("format = \"gradescope\", path = \"/a\", max_score = 3").is_ok());
        for (results, key) in [("junit", "results.expect_tests"), ("gradescope", "results.max_score")] {
            let error = with(&format!("format = \"{results}\", path = \"/a\"")).unwrap_err().to_string();
            assert!(error.contains(&format!("needs {key}: 0 of how many points?")), "{error}");
        }
    }
}
