int main()
{
    show("sum", Polynomial({1, 2, 3}) + Polynomial({1, 0, -3}));
    show("difference", Polynomial({1, 2, 3}) - Polynomial({1, 2, 3}));
    show("text of the difference", (Polynomial({5, 0, 1}) - Polynomial({4, 0, 1})).text());
}
