//! Projects whose program is called for each case of a template, and that try to reach the way in, the answers, or the
//! next call.

use std::path::Path;

use crate::case::{Case, Group};
use crate::templates::PYTHON;
use crate::trial::{Expectation, Trial};

const TEMPLATE: &str = "called";

/// Cases of the template, one point each.
const CASES: u32 = 5;

const FULL: f64 = 5.0;

const SUBJECT: &str = include_str!("called/subject.py");

/// Mode, what is tried, the control, and whether the project answers all the same.
const MODES: &[(&str, &str, &str, bool)] = &[
    ("guesses-secret", "connects to the driver's way in, and guesses the proof", "256 bits, HMAC", false),
    (
        "times-proofs",
        "guesses the proof byte by byte, by the time that each refusal takes",
        "nothing is accepted while it lives, and proofs are compared in constant time",
        false,
    ),
    ("replays", "sends back what the way in has answered", "nonces of each connection, labels of each role", false),
    (
        "squats",
        "takes the port of the way in, in the build and in each call",
        "it is bound before the first stage",
        false,
    ),
    (
        "answers-for-warden",
        "listens on the port in a call, and tells whoever connects that all is well",
        "the driver's warden is connected by then",
        false,
    ),
    ("leaves-processes", "leaves processes for the next call", "each call ends with every process of the cell", false),
    ("leaves-files", "leaves files for the next call, in every folder that it can write to", "fresh calls", false),
    ("changes-program", "changes its program for the next call", "fresh calls", false),
    ("looks-for-answers", "looks for the expected outputs and the driver's socket", "another mount namespace", false),
    ("detects-case", "looks for what tells one case from another, but its input", "a call carries no name", false),
    ("answers-another", "prints the expected output of another case", "each case has its own", false),
    (
        "floods-connections",
        "holds as many connections to the way in as it can, and answers",
        "nothing is accepted while it lives: it is judged all the same",
        true,
    ),
    (
        "floods-bytes",
        "fills its other stream and the way in with bytes, and answers",
        "each stream is bounded by itself: it is judged all the same",
        true,
    ),
];

pub(super) fn all() -> Vec<Trial> {
    let trials = MODES.iter().map(|(mode, tried, control, answers)| Trial {
        case: Case::new(Group::Results, &format!("called-{mode}"), *tried, *control),
        template: TEMPLATE,
        archive: archive(mode),
        expected: if *answers { Expectation::ScoresOutOf(FULL, FULL) } else { Expectation::GainsNothingOutOf(FULL) },
    });
    trials.collect()
}

/// An honest project, and what it must get.
pub(super) fn honest() -> (&'static str, Vec<u8>, Expectation) {
    (TEMPLATE, archive("honest"), Expectation::ScoresOutOf(FULL, FULL))
}

fn archive(mode: &str) -> Vec<u8> {
    let text = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    assize_corpus::project(&[text("run.py", SUBJECT), text("mode", mode)])
}

/// Writes the template into `folder`.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_template(folder: &Path) -> std::io::Result<()> {
    let limits =
        "limits = { cpus = 1.0, memory_mib = 128, pids = 32, workspace_mib = 8, workspace_inodes = 500, tmp_mib = 8 }";
    let own = folder.join(TEMPLATE);
    for number in 1..=CASES {
        let case = own.join(format!("tests/cases/c{number}"));
        std::fs::create_dir_all(&case)?;
        std::fs::write(case.join("in"), format!("{number}\n"))?;
        std::fs::write(case.join("out"), format!("{}\n", number * number + 7))?;
    }
    std::fs::write(
        own.join("template.toml"),
        format!(
            "description = \"{TEMPLATE}\"\nclass = \"A\"\nimage = \"{PYTHON}\"\n{limits}\n\
             [[stages]]\nname = \"build\"\ncommand = [\"python3\", \"-I\", \"-B\", \"run.py\", \"build\"]\ntimeout_s = 20\n\
             [driver]\nkind = \"cases\"\nfresh = true\nprogram = [\"python3\", \"-I\", \"-B\", \"run.py\"]\n\
             image = \"{PYTHON}\"\ntimeout_s = 60\n{limits}\n[global]\ntimeout_s = 90\n"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_in_the_program() {
        for (mode, ..) in MODES {
            assert!(SUBJECT.contains(&format!("\ndef {}(", mode.replace('-', "_"))), "{mode}");
        }
    }
}
