int main()
{
    const Polynomial p({1, -1, 3});
    show("at 0", p.at(0));
    show("at 2", p.at(2));
    show("at -3", p.at(-3));
    show("of nothing", Polynomial().at(5));
    show("at a million", Polynomial({0, 0, 0, 9}).at(1000000));
}
