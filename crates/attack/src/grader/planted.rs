//! Files of a project that a program of the grader may load or run by itself.

use super::{Files, GRADED, UNIT, project};
use crate::case::{Case, Group};
use crate::trial::{Expectation, Trial};

/// Code that forges a full report and a matching exit code from within the grader's process.
const EVIL: &str = r#"import atexit, os
def forge():
    cases = "".join(f'<testcase classname="t" name="t{n}" time="0"/>' for n in range(10))
    open("/tmp/results.xml", "w").write(
        f'<testsuites><testsuite name="p" tests="10" failures="0" errors="0" skipped="0">{cases}</testsuite></testsuites>')
    three = ", ".join('{"name": "q%d", "score": 1.0, "max_score": 1.0}' % n for n in range(3))
    open("/tmp/results.json", "w").write('{"tests": [%s]}' % three)
    os._exit(0)
atexit.register(forge)
"#;

/// A module that exists and does nothing right.
const NOTHING: &str =
    "class Rational:\n    def __init__(self, *_):\n        self.numerator = self.denominator = None\n";

/// A plugin for pytest that reports every test as passed.
const PLUGIN: &str = r#"import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    report.outcome, report.longrepr = "passed", None
def pytest_sessionfinish(session):
    session.exitstatus = 0
"#;

const INI: &str = "[pytest]\naddopts = -p evil\npython_files = evil_*.py\n";

/// Name, template, what is tried, the control, the files.
const CASES: &[(&str, &str, &str, &str, Files)] = &[
    (
        "usercustomize",
        GRADED,
        "usercustomize in the home's folder of modules",
        "the home of the tests is a new folder",
        &[(".local/lib/python3.11/site-packages/usercustomize.py", EVIL)],
    ),
    (
        "user-pth",
        GRADED,
        "a .pth file with code in the home's folder of modules",
        "the home of the tests is a new folder",
        &[
            (".local/lib/python3.11/site-packages/evil.pth", "import evil\n"),
            (".local/lib/python3.11/site-packages/evil.py", EVIL),
        ],
    ),
    (
        "user-module",
        GRADED,
        "modules of the names that the tests import, in the home's folder of modules and in the workspace",
        "the home of the tests is a new folder, and the working folder is not searched",
        &[
            (".local/lib/python3.11/site-packages/sitecustomize.py", EVIL),
            ("sitecustomize.py", EVIL),
            ("usercustomize.py", EVIL),
            ("subprocess.py", EVIL),
            ("json.py", EVIL),
        ],
    ),
    (
        "unit-usercustomize",
        UNIT,
        "usercustomize and a .pth file for pytest's process",
        "-I: no folder of the user's own",
        &[
            (".local/lib/python3.11/site-packages/usercustomize.py", EVIL),
            (".local/lib/python3.11/site-packages/evil.pth", "import usercustomize\n"),
        ],
    ),
    (
        "unit-sitecustomize",
        UNIT,
        "sitecustomize beside the module that is judged",
        "-I: the working folder is not searched",
        &[("sitecustomize.py", EVIL), ("usercustomize.py", EVIL)],
    ),
    (
        "unit-conftest",
        UNIT,
        "a conftest.py with code",
        "--rootdir and --confcutdir: those of the grader",
        &[("conftest.py", EVIL), ("tests/conftest.py", EVIL)],
    ),
    (
        "unit-settings",
        UNIT,
        "pytest.ini, tox.ini, setup.cfg and pyproject.toml that load a plugin and other tests",
        "-c: the grader's settings",
        &[
            ("pytest.ini", INI),
            ("tox.ini", INI),
            ("setup.cfg", "[tool:pytest]\naddopts = -p evil\n"),
            ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = \"-p evil\"\n"),
            ("evil.py", PLUGIN),
            ("evil_test.py", "def test_it():\n    pass\n"),
        ],
    ),
    (
        "unit-shadowed-pytest",
        UNIT,
        "modules by the names of pytest and of what it needs",
        "the project's folder comes last",
        &[("pytest.py", EVIL), ("_pytest/__init__.py", EVIL), ("pluggy.py", EVIL), ("iniconfig.py", EVIL)],
    ),
    (
        "unit-shadowed-library",
        UNIT,
        "modules by the names of the standard library's that pytest imports late",
        "the project's folder comes last",
        &[
            ("random.py", EVIL),
            ("xml/__init__.py", EVIL),
            ("signal.py", EVIL),
            ("platform.py", EVIL),
            ("unittest/__init__.py", EVIL),
            ("pdb.py", EVIL),
        ],
    ),
    (
        "unit-shadowed-tests",
        UNIT,
        "modules by the names of the grader's own files",
        "the grader's folder comes first",
        &[("test_rational.py", EVIL), ("conftest.py", EVIL), ("rational/__init__.py", EVIL)],
    ),
];

pub(super) fn all() -> Vec<Trial> {
    let trials = CASES.iter().map(|(name, template, tried, control, planted)| {
        let own: &[(&str, &str)] = match *template {
            GRADED => &[("build.sh", "true"), ("answer.py", "print('forged')\n")],
            _ => &[("rational.py", NOTHING)],
        };
        let case = Case::new(Group::Code, &format!("grader-{name}"), *tried, *control);
        Trial { case, template, archive: project(&[own, planted].concat()), expected: Expectation::Scores(0.0) }
    });
    trials.collect()
}
