int main()
{
    show("a", Polynomial({1, -1, 3}).text());
    show("b", Polynomial({0, 2, 0, -1}).text());
    show("c", Polynomial({7}).text());
    show("d", Polynomial({-7}).text());
    show("e", Polynomial({0, 1}).text());
    show("f", Polynomial({-1, 0, 0, 0, 12}).text());
    show("g", Polynomial().text());
}
