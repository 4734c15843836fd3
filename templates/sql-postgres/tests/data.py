"""The hidden data: the same for each run of a submission, and different for every other submission."""

import datetime
import random

TABLES = {
    "members": ("id", "name", "email"),
    "books": ("id", "title", "year", "copies"),
    "loans": ("id", "book_id", "member_id", "taken_on", "due_on", "returned_on"),
}
FIRST_NAMES = ("Ada", "Bela", "Chloé", "Dmitri", "Edda", "Farid", "Greta", "Hugo", "Inès", "Jon")
LAST_NAMES = ("Abel", "Bonn", "Cohen", "Dahl", "Ebner", "Franco")
FIRST_WORDS = ("Night", "River", "Glass", "Salt", "Paper", "Winter", "Hidden", "Broken")
LAST_WORDS = ("Ferry", "Garden", "Letters", "Atlas", "Orchard")
TODAY = datetime.date(2026, 3, 1)
LOANS = 400


def days(count):
    return datetime.timedelta(days=count)


def generate(seed):
    """The rows of each table, in an order in which they can be inserted."""
    drawn = random.Random(seed)
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    titles = [f"{first} {last}" for first in FIRST_WORDS for last in LAST_WORDS]
    drawn.shuffle(names)
    drawn.shuffle(titles)
    members = [(number, name, f"m{drawn.randrange(10**6)}.{number}@example.org") for number, name in enumerate(names, 1)]
    books = [(number, title, drawn.randint(1850, 2025), drawn.randint(1, 4)) for number, title in enumerate(titles, 1)]
    # Some members never had a loan, and some books never were one.
    readers, lent = drawn.sample(members, 45), drawn.sample(books, 34)
    out = {book[0]: 0 for book in books}
    loans = []
    for number in range(1, LOANS + 1):
        book, member = drawn.choice(lent), drawn.choice(readers)
        taken = TODAY - days(drawn.randint(1, 400))
        due = taken + days(28)
        returned = taken + days(drawn.randint(0, 60))
        if returned > TODAY or drawn.random() < 0.15:
            returned = None
        if returned is None and out[book[0]] == book[3]:
            returned = taken  # no copy is left that could be out
        out[book[0]] += returned is None
        loans.append((number, book[0], member[0], taken, due, returned))
    drawn.shuffle(loans)
    return {"members": members, "books": books, "loans": loans}
