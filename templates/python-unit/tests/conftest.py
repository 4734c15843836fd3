"""Loads the student's module once, and gives each test a few seconds.

The module is loaded here, before any test and outside of their time limits: whatever goes wrong
then fails every test with the same message, so a verdict always has all of them. A module that
never finishes loading is ended by the time limit of the stage.
"""

import importlib.util
import signal
import sys

import pytest

PROJECT = "/workspace"
TEST_S = 3  # one test; the assignment promises it
AGAIN_S = 0.5  # for code that swallows the first alarm

# At the end, for what the student's module imports of its own: no file of the project stands in for another module.
sys.path.append(PROJECT)


def load():
    """The class, or the message of why there is none."""
    try:
        # By its path: no other file of the project is looked at to find it.
        spec = importlib.util.spec_from_file_location("rational", f"{PROJECT}/rational.py")
        module = sys.modules["rational"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except BaseException as error:  # SystemExit as well
        return None, f"rational.py cannot be imported: {type(error).__name__}: {error}"[:400]
    if not isinstance(getattr(module, "Rational", None), type):
        return None, "rational.py defines no class Rational"
    return module.Rational, ""


LOADED, WHY_NOT = load()


@pytest.fixture(name="Rational")
def rational_class():
    # Not in the fixture's own phase: there it would be an error, and this is a failure.
    if LOADED is None:
        return lambda *_: pytest.fail(WHY_NOT, pytrace=False)
    return LOADED


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    def alarm(_signal, _frame):
        # Not an Exception: `except Exception` in the student's code does not swallow it.
        pytest.fail(f"took longer than {TEST_S} s", pytrace=False)

    signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, TEST_S, AGAIN_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
