//! Cells whose warden gets hardly any resources: their failures are the project's.

use super::case;
use crate::trial::{Expectation, Trial};
use assize_domain::run::FailureCode;

/// Fifty processes that spin on a twentieth of a processor and ignore TERM.
const SPINNING: &str =
    "trap '' TERM\nn=0\nwhile [ $n -lt 50 ]; do (trap '' TERM; while :; do :; done) & n=$((n+1)); done\nwait\n";

/// The pages of a tmpfs count as memory of the cell but of no process: in the end the kernel has no process left to
/// kill except PID 1.
const FILLING: &str = "for where in /workspace /dev/shm /tmp; do dd if=/dev/zero of=$where/big bs=64k 2>/dev/null; done\n\
    for where in /workspace /dev/shm /tmp; do dd if=/dev/zero of=$where/more bs=64k 2>/dev/null; done\nexit 1\n";

/// Takes everything at one time: memory, processes, output, processors.
const EVERYTHING: &str = "trap '' TERM\n(while :; do :; done) &\n(yes | head -c 100000000) &\n\
    n=0\nwhile [ $n -lt 40 ]; do (dd if=/dev/zero of=/dev/shm/$n bs=64k; sleep 60) & n=$((n+1)); done 2>/dev/null\nwait\n";

fn trial(name: &str, tried: &str, template: &'static str, script: &str, codes: &'static [FailureCode]) -> Trial {
    let archive = assize_corpus::project(&[("run.sh".to_owned(), script.as_bytes().to_vec())]);
    Trial {
        case: case(name, tried, "the submission is at fault, whatever is left of its cell"),
        template,
        archive,
        expected: Expectation::Fails(codes),
    }
}

pub(super) fn all() -> Vec<Trial> {
    use FailureCode::{OutOfDisk, OutOfMemory, OutputLimit, StageTimeout, TooManyProcesses};
    vec![
        trial(
            "starved-cpu",
            "fifty processes spin on a twentieth of a processor, and the warden has to end them on it",
            "starved",
            SPINNING,
            &[StageTimeout, TooManyProcesses],
        ),
        trial(
            "starved-memory",
            "three tmpfs are filled, which together are more than the memory of the cell",
            "tight",
            FILLING,
            &[OutOfMemory, OutOfDisk],
        ),
        trial(
            "starved-everything",
            "memory, processes, output and processors are used up at one time",
            "starved",
            EVERYTHING,
            &[OutOfMemory, OutOfDisk, TooManyProcesses, StageTimeout, OutputLimit],
        ),
    ]
}
