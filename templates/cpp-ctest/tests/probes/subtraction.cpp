int main()
{
    show("short and long", Polynomial({1, 2}) - Polynomial({10, 20, 30}));
    show("long and short", Polynomial({10, 20, 30}) - Polynomial({1, 2}));
    show("from nothing", Polynomial() - Polynomial({1, 2}));
}
