//! The tables `[[tests]]` of a template: what each test is worth.

use super::file::File;
use super::{OnDriverFailure, Results};
use assize_domain::verdict::{Format, Marking};

impl File {
    /// The section `[results]` with the rules of `[[tests]]`.
    ///
    /// # Errors
    /// The rule that cannot be used, or the setting that the rules need.
    pub(super) fn marked_results(&self) -> Result<Results, String> {
        let results = self.results.as_ref().ok_or_else(no_results)?;
        let Results { format, max_score, on_driver_failure, .. } = *results;
        let marking = Marking::new(self.tests.clone(), format).map_err(|error| error.to_string())?;
        if !marking.is_empty() && max_score.is_none() {
            if format == Format::Tap {
                return Err(need_maximum("a test that TAP planned and that did not run has no name"));
            }
            if on_driver_failure == OnDriverFailure::ScoreZero {
                return Err(need_maximum("a test that is missing from an interrupted report has no name"));
            }
        }
        Ok(Results { marking, ..results.clone() })
    }
}

/// The error of a template that says nothing of its reports.
pub(super) fn no_results() -> String {
    "there is no [results]; say in which format and where the tests report".to_owned()
}

fn need_maximum(why: &str) -> String {
    format!("[[tests]] needs results.max_score, because {why}; set it to the points of all tests together")
}

#[cfg(test)]
mod tests {
    use crate::template::{Results, Template};

    fn load(results: &str, tests: &str) -> Result<Results, String> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "description = \"d\"\nclass = \"A\"\nimage = \"i\"\n\
             limits = {{ cpus = 1.0, memory_mib = 64, pids = 16, workspace_mib = 8, workspace_inodes = 100, tmp_mib = 8 }}\n\
             stages = [{{ name = \"tests\", command = [\"true\"], timeout_s = 1 }}]\n\
             results = {{ {results} }}\nglobal = {{ timeout_s = 10 }}\n{tests}"
        );
        std::fs::write(folder.path().join("template.toml"), text).unwrap();
        Template::load(folder.path()).map(|template| template.results).map_err(|error| error.to_string())
    }

    const JUNIT: &str = "format = \"junit\", path = \"/a\"";
    const TAP: &str = "format = \"tap\", path = \"/a\"";
    const RULE: &str = "[[tests]]\nmatch = \"a*\"\npoints = 2.5\nvisibility = \"hidden\"\nname = \"A\"\n";

    #[test]
    fn rules_come_in_the_order_of_the_file() {
        let results = load(JUNIT, &format!("{RULE}[[tests]]\nmatch = \"*\"\npoints = 2\n")).unwrap();
        assert_eq!((results.marking.rule_for("ab"), results.marking.rule_for("b")), (Some(0), Some(1)));
        assert!(load(JUNIT, "").unwrap().marking.is_empty());
    }

    #[test]
    fn points_and_the_number_of_tests_are_two_things() {
        let results = format!("{TAP}, max_score = 12.5, expect_tests = 3");
        assert!(load(&results, RULE).is_ok());
        assert!(load(&results, "").unwrap_err().contains("in tap a test is one point"));
    }

    #[test]
    fn rules_that_cannot_be_are_refused() {
        for (results, tests, why) in [
            (TAP, RULE, "[[tests]] needs results.max_score, because a test that TAP planned"),
            ("format = \"gradescope\", path = \"/a\"", RULE, "[[tests]] has no meaning for gradescope"),
            ("format = \"exit_code\"", RULE, "[[tests]] has no meaning for exit_code"),
            (JUNIT, "[[tests]]\nmatch = \"a[\"\n", "`match` of [[tests]] number 1 is no pattern"),
            (JUNIT, "[[tests]]\nmatch = \"a\"\npoint = 1\n", "unknown field `point`"),
            (JUNIT, "[[tests]]\npoints = 1\n", "missing field `match`"),
        ] {
            let error = load(results, tests).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
