# Does not compile: a bracket is never closed.
class Rational:
    def __init__(self, numerator, denominator=1:
        self.numerator = numerator
        self.denominator = denominator
