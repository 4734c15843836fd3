//! Archives that lie: most must not be taken in at all, and what only shows when it is inflated must end in the
//! cell, as the project's own fault.

mod headers;
mod inflated;
mod names;
mod records;

use super::arena::Arena;
use super::case::{Case, Group};
use super::trial::{self, Must, Trial};
use assize_corpus::{Ending, Member, archive};

/// The template that the archives are handed in for.
const TEMPLATE: &str = "script";

/// The names of all.
#[must_use]
pub fn cases() -> Vec<Case> {
    all().into_iter().map(|trial| trial.case).collect()
}

/// Tries all that are wanted.
pub async fn run(arena: &Arena) {
    trial::run(arena, all()).await;
}

fn all() -> Vec<Trial> {
    [names::all(), headers::all(), records::all(), inflated::all()].concat()
}

/// An archive that the scan must refuse with this reason.
fn refused(name: &str, tried: impl Into<String>, code: &'static str, bytes: Vec<u8>) -> Trial {
    let case = Case::new(Group::Archives, name, tried, format!("the scan: {code}"));
    Trial { case, template: TEMPLATE, archive: bytes, must: Must::BeRefused(code) }
}

/// As [`refused`], of members with an honest end.
fn members(name: &str, tried: impl Into<String>, code: &'static str, members: &[Member]) -> Trial {
    refused(name, tried, code, archive(members, &Ending::default()))
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
    fn the_scan_says_of_each_what_is_expected_here() {
        let folder = tempfile::tempdir().unwrap();
        templates::write(folder.path(), 8081).unwrap();
        let templates = Templates::load(folder.path()).unwrap();
        let mut wrong = Vec::new();
        for Trial { case, archive, must, template } in [all(), crate::blame::archives()].concat() {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&archive).unwrap();
            let said = match scan(&file, &templates.get(template).unwrap().scan_limits(&Config::default())) {
                Ok(_) => "taken in".to_owned(),
                Err(problem) => format!("archive_{}", problem.code()),
            };
            let expected = if let Must::BeRefused(code) = must { code } else { "taken in" };
            if said != expected {
                wrong.push(format!("{}: {expected} is expected, the scan says {said}", case.id));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
