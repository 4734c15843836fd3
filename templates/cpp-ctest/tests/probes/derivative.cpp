int main()
{
    show("3x^2 - x + 1", Polynomial({1, -1, 3}).derivative());
    show("x^5", Polynomial({0, 0, 0, 0, 0, 1}).derivative());
    show("7", Polynomial({7}).derivative());
    show("nothing", Polynomial().derivative());
}
