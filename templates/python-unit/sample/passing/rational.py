"""Exact fractions."""

from functools import total_ordering
from math import gcd


def whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


@total_ordering
class Rational:
    __slots__ = ("numerator", "denominator")

    def __init__(self, numerator, denominator=1):
        if not whole(numerator) or not whole(denominator):
            raise TypeError("a Rational is made of two integers")
        if denominator == 0:
            raise ZeroDivisionError("the denominator is 0")
        shared = gcd(numerator, denominator)
        if denominator < 0:
            shared = -shared
        object.__setattr__(self, "numerator", numerator // shared)
        object.__setattr__(self, "denominator", denominator // shared)

    def __setattr__(self, name, value):
        raise AttributeError("a Rational does not change")

    @staticmethod
    def _of(value):
        if isinstance(value, Rational):
            return value
        return Rational(value) if whole(value) else None

    def __repr__(self):
        return f"Rational({self.numerator}, {self.denominator})"

    def __str__(self):
        if self.denominator == 1:
            return str(self.numerator)
        return f"{self.numerator}/{self.denominator}"

    def __eq__(self, other):
        other = self._of(other)
        if other is None:
            return NotImplemented
        return (self.numerator, self.denominator) == (other.numerator, other.denominator)

    def __hash__(self):
        if self.denominator == 1:
            return hash(self.numerator)
        return hash((self.numerator, self.denominator))

    def __lt__(self, other):
        other = self._of(other)
        if other is None:
            return NotImplemented
        return self.numerator * other.denominator < other.numerator * self.denominator

    def __add__(self, other):
        other = self._of(other)
        if other is None:
            return NotImplemented
        return Rational(
            self.numerator * other.denominator + other.numerator * self.denominator,
            self.denominator * other.denominator,
        )

    __radd__ = __add__

    def __sub__(self, other):
        other = self._of(other)
        return NotImplemented if other is None else self + -other

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        other = self._of(other)
        if other is None:
            return NotImplemented
        return Rational(self.numerator * other.numerator, self.denominator * other.denominator)

    __rmul__ = __mul__

    def __truediv__(self, other):
        other = self._of(other)
        if other is None:
            return NotImplemented
        return Rational(self.numerator * other.denominator, self.denominator * other.numerator)

    def __rtruediv__(self, other):
        other = self._of(other)
        return NotImplemented if other is None else other / self

    def __pow__(self, exponent):
        if not whole(exponent):
            return NotImplemented
        if exponent < 0:
            return Rational(self.denominator**-exponent, self.numerator**-exponent)
        return Rational(self.numerator**exponent, self.denominator**exponent)

    def __neg__(self):
        return Rational(-self.numerator, self.denominator)

    def __abs__(self):
        return Rational(abs(self.numerator), self.denominator)

    def __bool__(self):
        return self.numerator != 0

    def __int__(self):
        cut = abs(self.numerator) // self.denominator
        return cut if self.numerator >= 0 else -cut

    def __float__(self):
        return self.numerator / self.denominator
