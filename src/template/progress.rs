//! `progress` in `[results]`: whether the tests may report the end of each test while they run, and which of these tests
//! clients see then.

use assize_domain::verdict::Format;
use serde::Deserialize;

use super::Results;

/// The setting `progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Written")]
pub enum Progress {
    /// Nobody reads progress.
    #[default]
    Off,
    /// Tests are shown that the rules of `[[tests]]` show to students at once.
    ByRules,
    /// Every test is shown that is reported. For reports that say by themselves which tests are hidden, when it is too
    /// late.
    Shown,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "results.progress must be true, false or \"shown\"")]
enum Written {
    Switch(bool),
    Word(String),
}

impl TryFrom<Written> for Progress {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Switch(false) => Ok(Self::Off),
            Written::Switch(true) => Ok(Self::ByRules),
            Written::Word(word) if word == "shown" => Ok(Self::Shown),
            Written::Word(word) => {
                Err(format!("results.progress is {word:?}, it must be true, false or \"shown\"; choose one"))
            }
        }
    }
}

impl Results {
    /// What must hold of the progress.
    pub(super) fn check_progress(&self) -> Result<(), String> {
        match (self.progress, self.format) {
            (Progress::ByRules | Progress::Shown, Format::ExitCode) => {
                Err("results.progress has no meaning for exit_code, which has no tests; remove it".to_owned())
            }
            (Progress::ByRules, Format::Gradescope) => {
                Err("results.progress is true, but which tests are hidden only the report says in gradescope; write \
                 \"shown\" if all tests that are reported may be seen while they run"
                    .to_owned())
            }
            (Progress::Shown, Format::Junit | Format::Tap | Format::Ctrf) => Err(format!(
                "results.progress is \"shown\", but in {} the rules of [[tests]] say which tests are seen; write true",
                self.format.as_str()
            )),
            _ => Ok(()),
        }
    }

    /// The name under which a test is shown while the tests run; `None` if it is not.
    #[must_use]
    pub fn shown_while_running<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.progress {
            Progress::Off => None,
            Progress::ByRules => self.marking.shown_name(name),
            Progress::Shown => Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Template;

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

    #[test]
    fn hidden_tests_are_not_shown_while_they_run() {
        let hidden = "[[tests]]\nmatch = \"secret*\"\nvisibility = \"hidden\"\n";
        let results = load("format = \"junit\", path = \"/a\", progress = true", hidden).unwrap();
        assert_eq!((results.shown_while_running("a"), results.shown_while_running("secret a")), (Some("a"), None));
        let shown = load("format = \"gradescope\", path = \"/a\", progress = \"shown\"", "").unwrap();
        assert_eq!(shown.shown_while_running("a"), Some("a"));
        for off in ["", ", progress = false"] {
            let results = load(&format!("format = \"junit\", path = \"/a\"{off}"), hidden).unwrap();
            assert_eq!((results.progress, results.shown_while_running("a")), (Progress::Off, None));
        }
    }

    #[test]
    fn progress_that_cannot_be_is_refused() {
        for (results, why) in [
            ("format = \"exit_code\", progress = true", "results.progress has no meaning for exit_code"),
            ("format = \"exit_code\", progress = \"shown\"", "results.progress has no meaning for exit_code"),
            ("format = \"gradescope\", path = \"/a\", progress = true", "write \"shown\" if all tests"),
            ("format = \"tap\", path = \"/a\", progress = \"shown\"", "in tap the rules of [[tests]] say"),
            ("format = \"tap\", path = \"/a\", progress = \"all\"", "it must be true, false or \"shown\""),
            ("format = \"tap\", path = \"/a\", progress = 1", "results.progress must be true, false or"),
        ] {
            let error = load(results, "").unwrap_err();
            assert!(error.contains(why), "{results}: {error}");
        }
        assert!(load("format = \"exit_code\", progress = false", "").is_ok());
    }
}
