//! Hostile archives. The API must reject most of them at submission. What only inflating shows must end in the cell, as a
//! failure of the submission.
//!
//! The archives are those of [`assize_corpus::hostile`]; this module adds how the run of an accepted archive must end.

use super::case::{Case, Group};
use super::context::AttackContext;
use super::trial::{self, Expectation, Trial};
use assize_corpus::hostile::{self, HostileArchive, ScanAnswer};
use assize_domain::run::FailureCode;

/// The template that the archives are submitted for.
const TEMPLATE: &str = "script";

/// The control that stops an archive which only the warden can recognise.
const WARDEN: &str = "the warden, in the cell: archive_rejected";

/// Every case of this group.
#[must_use]
pub fn cases() -> Vec<Case> {
    all().into_iter().map(|trial| trial.case).collect()
}

/// Tries every requested case.
pub async fn run(context: &AttackContext) {
    trial::run(context, all()).await;
}

fn all() -> Vec<Trial> {
    hostile::for_attack().into_iter().map(trial_of).collect()
}

fn trial_of(archive: HostileArchive) -> Trial {
    let (control, expected) = match archive.scan {
        ScanAnswer::Refused(code) | ScanAnswer::RefusedForWorkspace(code) | ScanAnswer::RefusedForCell(code) => {
            (format!("the scan: {code}"), Expectation::Refused(code))
        }
        ScanAnswer::Harmless => {
            ("the project's own files are all that is unpacked".to_owned(), Expectation::GainsNothing)
        }
        ScanAnswer::Accepted => {
            let (control, expected) = accepted(&archive.name);
            (control.to_owned(), expected)
        }
    };
    let case = Case::new(Group::Archives, &archive.name, archive.what, control);
    Trial { case, template: TEMPLATE, archive: archive.bytes, expected }
}

/// The control that must stop an archive which the scan accepts, and how its run must end.
fn accepted(name: &str) -> (&'static str, Expectation) {
    match name {
        "inflates-further" => (
            "the warden counts the bytes that it unpacks, and the tmpfs is full",
            Expectation::Fails(&[FailureCode::ArchiveRejected, FailureCode::OutOfDisk]),
        ),
        "inflates-less" => {
            ("the warden rejects the archive or unpacks the bytes that exist", Expectation::GainsNothing)
        }
        "nested" => ("the inner archive stays a file: the project counts two files", Expectation::Scores(1.0)),
        "modes" => ("the warden sets the mode of every file itself", Expectation::Scores(1.0)),
        _ => (WARDEN, Expectation::Fails(&[FailureCode::ArchiveRejected])),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::templates;
    use assize::template::Templates;
    use assize_archive::scan;
    use assize_config::Config;

    #[test]
    fn the_scan_answers_what_each_case_expects() {
        assert_eq!(hostile::WORKSPACE_INODES, templates::WORKSPACE_INODES);
        let folder = tempfile::tempdir().unwrap();
        templates::write(folder.path(), 8081).unwrap();
        let templates = Templates::load(folder.path()).unwrap();
        let mut wrong = Vec::new();
        for Trial { case, archive, expected, template } in [all(), crate::blame::archives()].concat() {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&archive).unwrap();
            let actual = match scan(&file, &templates.get(template).unwrap().scan_limits(&Config::default())) {
                Ok(_) => "accepted".to_owned(),
                Err(problem) => format!("archive_{}", problem.code()),
            };
            let expected = if let Expectation::Refused(code) = expected { code } else { "accepted" };
            if actual != expected {
                wrong.push(format!("{}: expected {expected}, observed {actual}", case.id));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
