int main()
{
    show("(x + 1)(x - 1)", Polynomial({1, 1}) * Polynomial({-1, 1}));
    show("by a number", Polynomial({1, -1, 3}) * Polynomial({4}));
    show("by nothing", Polynomial({1, -1, 3}) * Polynomial());
    Polynomial power({1});
    for (int i = 0; i < 10; i++)
        power = power * Polynomial({1, 1});
    show("(x + 1)^10", power);
}
