#include "polynomial.hpp"

#include <algorithm>
#include <utility>

Polynomial::Polynomial(std::vector<long> values) : coefficients(std::move(values))
{
    while (!coefficients.empty() && coefficients.back() == 0)
        coefficients.pop_back();
}

int Polynomial::degree() const
{
    return static_cast<int>(coefficients.size()) - 1;
}

long Polynomial::coefficient(int power) const
{
    return power < 0 || power > degree() ? 0 : coefficients[power];
}

long Polynomial::at(long x) const
{
    long value = 0;
    for (int power = degree(); power >= 0; power--)
        value = value * x + coefficients[power];
    return value;
}

Polynomial Polynomial::operator+(const Polynomial &other) const
{
    std::vector<long> sum(std::max(coefficients.size(), other.coefficients.size()));
    for (int power = 0; power < static_cast<int>(sum.size()); power++)
        sum[power] = coefficient(power) + other.coefficient(power);
    return Polynomial(std::move(sum));
}

Polynomial Polynomial::operator-(const Polynomial &other) const
{
    return *this + other * Polynomial({-1});
}

Polynomial Polynomial::operator*(const Polynomial &other) const
{
    std::vector<long> product(coefficients.size() + other.coefficients.size());
    for (int left = 0; left <= degree(); left++)
        for (int right = 0; right <= other.degree(); right++)
            product[left + right] += coefficients[left] * other.coefficients[right];
    return Polynomial(std::move(product));
}

Polynomial Polynomial::derivative() const
{
    std::vector<long> result;
    for (int power = 1; power < degree(); power++)
        result.push_back(power * coefficients[power]);
    return Polynomial(std::move(result));
}

std::string Polynomial::text() const
{
    std::string result;
    for (int power = degree(); power >= 0; power--) {
        const long value = coefficients[power];
        if (value == 0)
            continue;
        if (result.empty())
            result = value < 0 ? "-" : "";
        else
            result += value < 0 ? " - " : " + ";
        const long size = value < 0 ? -value : value;
        result += std::to_string(size);
        if (power > 0)
            result += "x";
        if (power > 1)
            result += "^" + std::to_string(power);
    }
    return result.empty() ? "0" : result;
}
