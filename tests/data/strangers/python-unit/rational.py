"""Exact fractions."""

from math import gcd


def _is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


class Rational:
    """A fraction in lowest terms with a positive denominator; it cannot be changed."""

    __slots__ = ("numerator", "denominator")

    def __init__(self, numerator, denominator=1):
        if not _is_integer(numerator) or not _is_integer(denominator):
            raise TypeError("a Rational is made of two integers")
        if denominator == 0:
            raise ZeroDivisionError("the denominator is 0")
        divisor = gcd(numerator, denominator)
        if denominator < 0:
            divisor = -divisor
        object.__setattr__(self, "numerator", numerator // divisor)
        object.__setattr__(self, "denominator", denominator // divisor)

    def __setattr__(self, name, value):
        raise AttributeError("a Rational cannot be changed")

    def __delattr__(self, name):
        raise AttributeError("a Rational cannot be changed")

    def __str__(self):
        if self.denominator == 1:
            return str(self.numerator)
        return f"{self.numerator}/{self.denominator}"

    def __repr__(self):
        return f"Rational({self.numerator}, {self.denominator})"

    @staticmethod
    def _of(value):
        if isinstance(value, Rational):
            return value
        return Rational(value) if _is_integer(value) else None

    def __hash__(self):
        if self.denominator == 1:
            return hash(self.numerator)
        return hash((self.numerator, self.denominator))

    def __eq__(self, other):
        other = self._of(other)
        if other is None:
            return NotImplemented
        return self.numerator == other.numerator and self.denominator == other.denominator

    def _difference(self, other):
        """A number with the sign of self - other; None if they cannot be compared."""
        other = self._of(other)
        if other is None:
            return None
        return self.numerator * other.denominator - other.numerator * self.denominator

    def __lt__(self, other):
        difference = self._difference(other)
        return NotImplemented if difference is None else difference < 0

    def __le__(self, other):
        difference = self._difference(other)
        return NotImplemented if difference is None else difference <= 0

    def __gt__(self, other):
        difference = self._difference(other)
        return NotImplemented if difference is None else difference > 0

    def __ge__(self, other):
        difference = self._difference(other)
        return NotImplemented if difference is None else difference >= 0

    def __add__(self, other):
        other = self._of(other)
        if other is None:
            return NotImplemented
        top = self.numerator * other.denominator + other.numerator * self.denominator
        return Rational(top, self.denominator * other.denominator)

    __radd__ = __add__

    def __neg__(self):
        return Rational(-self.numerator, self.denominator)

    def __sub__(self, other):
        other = self._of(other)
        return NotImplemented if other is None else self + -other

    def __rsub__(self, other):
        other = self._of(other)
        return NotImplemented if other is None else other + -self

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
        if not _is_integer(exponent):
            return NotImplemented
        if exponent >= 0:
            return Rational(self.numerator**exponent, self.denominator**exponent)
        if self.numerator == 0:
            raise ZeroDivisionError("0 has no negative power")
        return Rational(self.denominator**-exponent, self.numerator**-exponent)

    def __float__(self):
        return self.numerator / self.denominator

    def __int__(self):
        whole = abs(self.numerator) // self.denominator
        return whole if self.numerator >= 0 else -whole

    def __abs__(self):
        return Rational(abs(self.numerator), self.denominator)

    def __bool__(self):
        return self.numerator != 0
