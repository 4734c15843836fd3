// Stands before each probe.
#include "polynomial.hpp"

#include <cstdio>
#include <string>

[[maybe_unused]] static void show(const char *name, long value)
{
    std::printf("%s: %ld\n", name, value);
}

[[maybe_unused]] static void show(const char *name, const std::string &value)
{
    std::printf("%s: %s\n", name, value.c_str());
}

// The coefficients from power 0 to the degree.
[[maybe_unused]] static void show(const char *name, const Polynomial &value)
{
    std::printf("%s: degree %d,", name, value.degree());
    for (int power = 0; power <= value.degree() && power < 100; power++)
        std::printf(" %ld", value.coefficient(power));
    std::printf("\n");
}

