int main()
{
    show("3x^2 - x + 1", Polynomial({1, -1, 3}).degree());
    show("7", Polynomial({7}).degree());
    show("zeros at the end", Polynomial({1, 2, 0, 0}).degree());
    show("zeros only", Polynomial({0, 0}).degree());
    show("nothing", Polynomial().degree());
    show("coefficient of x^2", Polynomial({1, -1, 3}).coefficient(2));
    show("coefficient of x^5", Polynomial({1, -1, 3}).coefficient(5));
    show("coefficient of x^-1", Polynomial({1, -1, 3}).coefficient(-1));
}
