#include "polynomial.hpp"

Polynomial::Polynomial(std::vector<long> values)
{
    (void)values; // your work
}

int Polynomial::degree() const
{
    return 0; // your work
}

long Polynomial::coefficient(int power) const
{
    return power; // your work
}

long Polynomial::at(long x) const
{
    return x; // your work
}

Polynomial Polynomial::operator+(const Polynomial &other) const
{
    return other; // your work
}

Polynomial Polynomial::operator-(const Polynomial &other) const
{
    return other; // your work
}

Polynomial Polynomial::operator*(const Polynomial &other) const
{
    return other; // your work
}

Polynomial Polynomial::derivative() const
{
    return *this; // your work
}

std::string Polynomial::text() const
{
    return ""; // your work
}
