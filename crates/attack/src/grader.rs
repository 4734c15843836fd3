//! Projects that attack the tests themselves, in the cell that they share with them: in the build, before the tests
//! exist; while the tests run; and with files that a program of the grader may load by itself.
//!
//! Two templates: `graded`, whose project runs code of its own in both stages, and the shipped `python-unit`, in whose
//! tests the project's module is loaded.

mod attempts;
mod planted;

use std::path::Path;

use super::case::{Case, CaseOutcome};
use super::context::AttackContext;
use super::trial::{self, Expectation, Trial};

/// Image of the shipped template that runs pytest.
pub const PYTEST_IMAGE: &str = "assize/python-unit:1";

const GRADED: &str = "graded";
const UNIT: &str = "python-unit";

const FILES: [(&str, &str); 7] = [
    ("graded/template.toml", include_str!("grader/template.toml")),
    ("graded/tests/check.py", include_str!("grader/check.py")),
    ("graded/tests/expected.json", include_str!("grader/expected.json")),
    ("python-unit/template.toml", include_str!("../../../templates/python-unit/template.toml")),
    ("python-unit/tests/conftest.py", include_str!("../../../templates/python-unit/tests/conftest.py")),
    ("python-unit/tests/pytest.ini", include_str!("../../../templates/python-unit/tests/pytest.ini")),
    ("python-unit/tests/test_rational.py", include_str!("../../../templates/python-unit/tests/test_rational.py")),
];

/// Names and contents of files.
type Files = &'static [(&'static str, &'static str)];

/// Honest projects with all points, by template. If an honest project gets no points, a lack of points proves nothing.
const HONEST: [(&str, Files, f64); 2] = [
    (
        GRADED,
        &[("build.sh", "true"), ("answer.py", "import sys\nprint(['a7', 'b19', 'c23'][int(sys.argv[1])])\n")],
        3.0,
    ),
    (UNIT, &[("rational.py", include_str!("../../../templates/python-unit/sample/passing/rational.py"))], 10.0),
];

/// Every case of this group.
#[must_use]
pub fn cases() -> Vec<Case> {
    all().into_iter().map(|trial| trial.case).collect()
}

fn all() -> Vec<Trial> {
    [attempts::all(), planted::all()].concat()
}

/// Writes the templates that these cases need into `folder`.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_templates(folder: &Path) -> std::io::Result<()> {
    for (name, text) in FILES {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// Tries every requested case.
pub async fn run(context: &AttackContext) {
    let wanted: Vec<Trial> = all().into_iter().filter(|trial| context.wants(&trial.case.id)).collect();
    for (template, files, score) in HONEST {
        let of_it: Vec<Trial> = wanted.iter().filter(|trial| trial.template == template).cloned().collect();
        if of_it.is_empty() {
            continue;
        }
        match honest(context, template, files, score).await {
            Ok(()) => trial::run(context, of_it).await,
            Err(why) => {
                for trial in of_it {
                    context.record(&trial.case.id, CaseOutcome::Inconclusive(why.clone()));
                }
            }
        }
    }
}

async fn honest(context: &AttackContext, template: &str, files: Files, score: f64) -> Result<(), String> {
    let run = context.begin(&[], template, project(files)).await?;
    let ended = context.ended(run).await?;
    match trial::assess(&ended, Expectation::Scores(score)) {
        CaseOutcome::Contained(_) => Ok(()),
        outcome => Err(format!("an honest project should have all points: {}", outcome.seen())),
    }
}

fn project(files: &[(&str, &str)]) -> Vec<u8> {
    let files: Vec<(String, Vec<u8>)> =
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    assize_corpus::project(&files)
}
