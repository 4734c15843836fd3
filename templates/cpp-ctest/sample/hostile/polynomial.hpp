#pragma once

#include <string>
#include <vector>

class Polynomial {
public:
    explicit Polynomial(std::vector<long> coefficients = {});
    int degree() const;
    long coefficient(int power) const;
    long at(long x) const;
    Polynomial operator+(const Polynomial &other) const;
    Polynomial operator-(const Polynomial &other) const;
    Polynomial operator*(const Polynomial &other) const;
    Polynomial derivative() const;
    std::string text() const;

private:
    std::vector<long> coefficients;
};
