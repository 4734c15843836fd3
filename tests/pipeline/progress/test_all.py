"""One test for each way in which pytest ends one."""
import pytest


@pytest.fixture
def broken():
    raise RuntimeError("before the test")


@pytest.fixture
def breaks():
    yield
    raise RuntimeError("after the test")


class TestClass:
    def test_method(self):
        pass


@pytest.mark.parametrize("text", ["a::b/c.py", "[x]"])
def test_text(text):
    assert text != "[x]"


@pytest.mark.skip
def test_skipped():
    pass


@pytest.mark.xfail
def test_expected_to_fail():
    assert False


def test_set_up(broken):
    pass


def test_torn_down(breaks):
    pass
