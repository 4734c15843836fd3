"""One test for each point of the assignment. Values are compared by their parts, so that a fault
in one operation does not fail the tests of the others."""

import operator

import pytest

BIG = 10**200 + 7


def parts(value):
    return value.numerator, value.denominator


def raises(error, function, *arguments):
    with pytest.raises(error):
        function(*arguments)


def test_01_normal_form(Rational):
    assert parts(Rational(6, -4)) == (-3, 2)
    assert parts(Rational(-6, -4)) == (3, 2)
    assert parts(Rational(0, -7)) == (0, 1)
    assert parts(Rational(5)) == (5, 1)
    assert parts(Rational(2 * BIG, 4 * BIG)) == (1, 2)


def test_02_construction_errors(Rational):
    Rational(1, 2)
    raises(ZeroDivisionError, Rational, 1, 0)
    raises(ZeroDivisionError, Rational, 0, 0)
    for wrong in (1.0, "1", None, True):
        raises(TypeError, Rational, wrong)
        raises(TypeError, Rational, 1, wrong)


def test_03_text(Rational):
    assert str(Rational(3, 2)) == "3/2"
    assert str(Rational(4, 2)) == "2"
    assert str(Rational(1, -3)) == "-1/3"
    assert repr(Rational(3, 2)) == "Rational(3, 2)"
    assert repr(Rational(4, 2)) == "Rational(2, 1)"


def test_04_equality_and_hash(Rational):
    assert Rational(1, 2) == Rational(2, 4)
    assert Rational(1, 2) != Rational(1, 3)
    assert hash(Rational(1, 2)) == hash(Rational(-2, -4))
    assert Rational(6, 3) == 2 and 2 == Rational(6, 3)
    assert hash(Rational(6, 3)) == hash(2)
    assert hash(Rational(BIG)) == hash(BIG)
    assert Rational(1, 2) != "1/2"
    assert (Rational(1, 2) == None) is False  # noqa: E711
    assert len({Rational(1, 2), Rational(2, 4), Rational(1), 1}) == 2


def test_05_order(Rational):
    assert Rational(1, 3) < Rational(1, 2) <= Rational(2, 4)
    assert Rational(-1, 2) < Rational(-1, 3)
    assert Rational(3, 2) > Rational(4, 3) >= Rational(4, 3)
    assert Rational(1, 2) < 1 and not Rational(3, 2) <= 1
    assert 1 > Rational(1, 2) and 2 >= Rational(4, 2)
    assert Rational(BIG, BIG + 1) < Rational(BIG + 1, BIG + 2)


def test_06_addition_and_subtraction(Rational):
    assert parts(Rational(1, 2) + Rational(1, 3)) == (5, 6)
    assert parts(Rational(1, 2) - Rational(1, 3)) == (1, 6)
    assert parts(Rational(1, 2) + 1) == (3, 2)
    assert parts(1 - Rational(1, 3)) == (2, 3)
    assert parts(Rational(1, 6) + Rational(1, 3)) == (1, 2)
    assert parts(Rational(1, BIG) + Rational(1, BIG)) == (2, BIG)
    for wrong in ("1", None):
        raises(TypeError, operator.add, Rational(1), wrong)
        raises(TypeError, operator.sub, wrong, Rational(1))


def test_07_multiplication(Rational):
    assert parts(Rational(2, 3) * Rational(3, 4)) == (1, 2)
    assert parts(Rational(2, 3) * -3) == (-2, 1)
    assert parts(3 * Rational(1, 6)) == (1, 2)
    assert parts(Rational(0) * Rational(5, 7)) == (0, 1)
    raises(TypeError, operator.mul, Rational(1), None)


def test_08_division(Rational):
    assert parts(Rational(1, 2) / Rational(3, 4)) == (2, 3)
    assert parts(Rational(1, 2) / -2) == (-1, 4)
    assert parts(1 / Rational(-2, 3)) == (-3, 2)
    raises(ZeroDivisionError, operator.truediv, Rational(1, 2), Rational(0))
    raises(ZeroDivisionError, operator.truediv, Rational(1, 2), 0)
    raises(ZeroDivisionError, operator.truediv, 1, Rational(0))
    raises(TypeError, operator.truediv, Rational(1), "2")


def test_09_powers(Rational):
    assert parts(Rational(2, 3) ** 3) == (8, 27)
    assert parts(Rational(2, 3) ** 0) == (1, 1)
    assert parts(Rational(0) ** 0) == (1, 1)
    assert parts(Rational(-2, 3) ** -3) == (-27, 8)
    raises(ZeroDivisionError, operator.pow, Rational(0), -1)


def test_10_conversions(Rational):
    assert float(Rational(1, 2)) == 0.5
    assert float(Rational(BIG, 2 * BIG)) == 0.5
    assert int(Rational(7, 2)) == 3 and int(Rational(-7, 2)) == -3
    assert parts(-Rational(1, 2)) == (-1, 2)
    assert parts(abs(Rational(-1, 2))) == (1, 2)
    assert bool(Rational(0, 5)) is False and bool(Rational(1, 5)) is True
