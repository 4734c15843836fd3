//! Drivers that the project's code starves or ends.

use super::{FULL, Trial, pages, trial};
use crate::trial::Expectation;
use assize_domain::run::FailureCode;

/// The first page was right before the second page attacked.
const FIRST: Expectation = Expectation::ScoresOutOf(1.0, FULL);
const NONE: Expectation = Expectation::ScoresOutOf(0.0, FULL);

/// Name, what is tried, the second page.
const STRIKES: &[(&str, &str, &str)] = &[
    ("memory", "takes all of its memory", "hold = []\nwhile True: hold.append(bytearray(1 << 22))"),
    ("time", "takes all of its time", "while True: pass"),
    ("stop", "stops it", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"),
    (
        "pids",
        "takes all of its processes",
        "import os, time\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(60)\nexcept OSError: os._exit(1)",
    ),
    ("output", "writes without end on its stdout", "while True: print('x' * 65536)"),
    ("exit-0", "ends it with 0", "import os; os._exit(0)"),
    ("exit-3", "ends it with 3", "import os; os._exit(3)"),
    ("kill", "kills it", "import os; os.kill(os.getpid(), 9)"),
    ("crash", "crashes it", "import ctypes; ctypes.string_at(0)"),
    ("raise", "raises an exception that the driver does not expect", "raise SystemExit(7)"),
    (
        "disk",
        "fills its workspace",
        "with open('/workspace/full', 'wb', 0) as f:\n    while True: f.write(bytes(65536))",
    ),
    ("inodes", "takes every inode of its workspace", "for n in range(9999): open(f'/workspace/f{n}', 'w').close()"),
    ("exec", "becomes another program", "import os; os.execv('/bin/true', ['true'])"),
];

/// Name, what is tried, the second page, for pages that spoil the report.
const SPOILS: &[(&str, &str, &str)] = &[
    ("unlink", "deletes its report", "import os; os.unlink('/workspace/results.json'); os._exit(0)"),
    ("truncate", "cuts its report", "import os; os.truncate('/workspace/results.json', 30); os._exit(0)"),
    (
        "folder",
        "a folder in its report's place",
        "import os; os.unlink('/workspace/results.json'); os.mkdir('/workspace/results.json'); os._exit(0)",
    ),
    ("closed", "closes its workspace", "import os; os.chmod('/workspace', 0)"),
    (
        "above",
        "writes 102 of 3 into its report",
        "import os; open('/workspace/results.json', 'w').write('{\"score\": 102, \"max_score\": 3}'); os._exit(0)",
    ),
];

pub(super) fn all() -> Vec<Trial> {
    let counts = "on_driver_failure = \"score_zero\": the written part of the report counts, the rest is 0";
    let nothing = "on_driver_failure = \"score_zero\": 0 of what the template expects";
    let page = |expected, control| {
        move |(name, tried, code): &(&str, &str, &str)| {
            let tried = format!("a page that the driver runs {tried}");
            trial(&format!("driver-{name}"), &tried, control, "page", pages(code, "answer = 0"), expected)
        }
    };
    let strikes = STRIKES.iter().map(page(FIRST, counts));
    let spoils = SPOILS.iter().map(page(NONE, nothing));
    strikes.chain(spoils).chain(unsaid()).collect()
}

/// Cases of templates without `on_driver_failure`.
fn unsaid() -> Vec<Trial> {
    let code_of = |name: &str| STRIKES.iter().find(|strike| strike.0 == name).map_or("", |strike| strike.2);
    let fails = |name: &str, tried: &str, control: &str, expected| {
        let archive = pages(code_of(name), "answer = 0");
        trial(&format!("driver-unsaid-{name}"), tried, control, "page-fails", archive, expected)
    };
    let service = "import http.server, os\n\
        class Handler(http.server.SimpleHTTPRequestHandler):\n    def do_GET(self): os._exit(0)\n\
        http.server.test(HandlerClass=Handler, port=8000, bind='127.0.0.1')\n";
    let dies = |name: &str, template: &'static str, control: &str, expected| {
        let tried = format!("a service that ends when the driver of {template} asks for its first page");
        let archive = assize_corpus::project(&[("run.py".to_owned(), service.as_bytes().to_vec())]);
        trial(&format!("driver-alone-{name}"), &tried, control, template, archive, expected)
    };
    vec![
        dies("excused", "page", "the driver writes its report first: 0 of 3", NONE),
        dies("first", "page-fails", "the driver writes its report first: 0 of 3", NONE),
        dies(
            "careless",
            "page-last",
            "a driver without a report whose service went down is not to blame: start_failed",
            Expectation::Fails(&[FailureCode::StartFailed]),
        ),
        fails(
            "memory",
            "a page takes the memory of a driver without on_driver_failure",
            "without score_zero the driver has failed: no point",
            Expectation::Fails(&[FailureCode::DriverFailed]),
        ),
        fails(
            "time",
            "a page takes the time of a driver without on_driver_failure",
            "the submission is at fault for the time: stage_timeout",
            Expectation::Fails(&[FailureCode::StageTimeout]),
        ),
        fails(
            "kill",
            "a page kills a driver without on_driver_failure, after its first report",
            "the driver writes its report first, and the report counts",
            FIRST,
        ),
    ]
}
