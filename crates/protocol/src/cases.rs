//! Cases: programs of the project that are run with an input, and whose output is compared.
//!
//! The service reads the cases of a template and checks them. It hands them to the driver's cell as one [`Suite`] in the
//! file [`SUITE`] beside the files of the cases, so that only one of the two reads what a teacher has written.

use serde::{Deserialize, Serialize};

/// The file of the bundle with the suite.
pub const SUITE: &str = "cases.json";

/// The folder of the bundle with one folder for each case.
pub const FOLDER: &str = "cases";

/// The standard input of a case, in its folder; optional.
pub const INPUT: &str = "in";

/// The expected output of a case, in its folder; optional if the case expects files.
pub const OUTPUT: &str = "out";

/// The folder with the expected files of a case, in its folder.
pub const FILES: &str = "files";

/// All cases of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The cases in the order in which they run.
    pub cases: Vec<Case>,
    /// The program that compares, for cases with [`Compare::Checker`].
    pub checker: Vec<String>,
    /// How long that program may take, in s.
    pub checker_timeout_s: u32,
}

/// One run of the project's program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The name of the folder of the case, and of its test.
    pub name: String,
    /// What the case is worth.
    pub points: f64,
    /// Who sees the case.
    pub visibility: Visibility,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How long the program may take, in ms.
    pub timeout_ms: u64,
    /// Limit of the data of each process, in bytes.
    pub memory_bytes: Option<u64>,
    /// Whether there is a file with the standard input.
    pub has_input: bool,
    /// How the output is compared; absent if it may be anything.
    pub compare: Option<Compare>,
    /// The files that the program must have written.
    #[serde(default)]
    pub files: Vec<ExpectedFile>,
}

/// A file that the program of a case must have written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedFile {
    /// The path below the working folder of the program, and below the folder [`FILES`] of the case.
    pub path: String,
    /// How the file is compared with the expected one.
    pub compare: Compare,
}

/// Who sees a case, in the words of Gradescope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// The student, at once.
    #[default]
    Visible,
    /// Graders only.
    Hidden,
    /// The student, once the assignment is due.
    AfterDueDate,
    /// The student, once grades are published.
    AfterPublished,
}

/// How the output of a program is compared with the expected one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Compare {
    /// The same bytes.
    Exact,
    /// The same lines, whatever white space is at the end of each and at the end of all.
    Lines,
    /// The same words between white space.
    Tokens,
    /// The same words; numbers may differ by this much, absolutely or in proportion.
    Float(f64),
    /// The expected output is a regular expression for the whole output.
    Regex,
    /// A program of the teacher's decides.
    Checker,
}

impl From<Compare> for String {
    fn from(compare: Compare) -> Self {
        match compare {
            Compare::Exact => "exact".to_owned(),
            Compare::Lines => "lines".to_owned(),
            Compare::Tokens => "tokens".to_owned(),
            Compare::Float(tolerance) => format!("float:{tolerance:e}"),
            Compare::Regex => "regex".to_owned(),
            Compare::Checker => "checker".to_owned(),
        }
    }
}

impl TryFrom<String> for Compare {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let unknown = || {
            format!(
                "compare is {text:?}; write exact, lines, tokens, float:1e-6 with a number from 0 to 1, regex or checker"
            )
        };
        Ok(match text.as_str() {
            "exact" => Self::Exact,
            "lines" => Self::Lines,
            "tokens" => Self::Tokens,
            "regex" => Self::Regex,
            "checker" => Self::Checker,
            other => {
                let tolerance = other.strip_prefix("float:").and_then(|number| number.parse().ok());
                Self::Float(tolerance.filter(|tolerance| (0.0..=1.0).contains(tolerance)).ok_or_else(unknown)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_compare_survive_their_text() {
        for text in ["exact", "lines", "tokens", "float:1e-6", "regex", "checker"] {
            let compare = Compare::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(compare), text);
        }
        for text in ["", "Exact", "float", "float:", "float:x", "float:-1", "float:2", "float:nan"] {
            assert!(Compare::try_from(text.to_owned()).unwrap_err().contains("float:1e-6"), "{text}");
        }
    }
}
