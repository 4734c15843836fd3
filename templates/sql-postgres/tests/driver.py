"""Loads a project's schema and hidden data into its server, and compares what its queries answer.

The project's SQL, and everything that fires triggers, rules or functions of the project, runs as the project's own role.
"""

import functools
import json
import os
import pathlib
import sys
import time
import urllib.parse

import psycopg2

sys.path.insert(0, "/grader")
import data  # noqa: E402
from report import Report  # noqa: E402
from server import Server, Slow, Wrong, text_of  # noqa: E402

REFERENCE = pathlib.Path("/grader/reference")
QUERIES = ("overdue", "popular", "available", "monthly", "idle")
HIDDEN = ("monthly", "idle")  # as template.toml has it: nothing of them is printed
QUERY_S = 2  # one query; the assignment promises it
LOAD_S = 10  # the schema, or all data
MAX_SLOW = 3  # after these many the rest is not tried
MAX_ROWS = 5000
NEW = 1_000_000  # ids that the data does not have
REFUSED = ("23", "P0001")  # integrity constraints, and RAISE in a trigger
EARLIER = data.TODAY - data.days(1)

with open("/grader/assize.json", encoding="utf-8") as file:
    ROWS = data.generate(json.load(file)["seed"])


def insertion(table):
    columns = data.TABLES[table]
    return f"INSERT INTO public.{table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})"


# ---- what a session does -----------------------------------------------------------------


def load_schema(schema, connection):
    with connection, connection.cursor() as cursor:
        cursor.execute(schema)


def load_data(connection):
    with connection, connection.cursor() as cursor:
        for table in data.TABLES:
            cursor.executemany(insertion(table), ROWS[table])


def answer(query, connection):
    """The rows of a query, as text."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        if cursor.description is None:
            raise Wrong("the file has no SELECT at its end")
        if cursor.rowcount > MAX_ROWS:
            raise Wrong(f"{cursor.rowcount} rows, more than {MAX_ROWS}")
        return [[text_of(value) for value in row] for row in cursor.fetchall()]


def content(connection):
    """What is in the tables, as text."""
    return {
        table: answer(f"SELECT {', '.join(columns)} FROM public.{table} ORDER BY id", connection)
        for table, columns in data.TABLES.items()
    }


def change(cursor, command, values):
    """Makes a change: why it was refused, or None."""
    cursor.execute("SAVEPOINT before")
    try:
        cursor.execute(command, values)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except Exception as error:
        cursor.execute("ROLLBACK TO SAVEPOINT before")
        return getattr(error, "pgcode", None) or type(error).__name__
    return None


def rules(good, bad, connection):
    """Every good change must be taken and every bad one refused, and good ones still be taken then. None of them stays."""
    with connection.cursor() as cursor:
        for number in (NEW, NEW + 100):
            for command, values, what in good(number):
                if error := change(cursor, command, values):
                    raise Wrong(f"{what} was refused ({error})")
            for command, values, what in bad if number == NEW else []:
                error = change(cursor, command, values)
                if error is None:
                    raise Wrong(f"{what} was taken")
                if not error.startswith(REFUSED):
                    raise Wrong(f"{what} failed, and not because a rule refused it ({error})")
    connection.rollback()


# ---- the changes that must be taken or refused -------------------------------------------


def row(table, number, what, **values):
    """An insertion: its command, its values, and what it is in words."""
    usual = {
        "members": {"name": "Nobody", "email": f"nobody{number}@example.org"},
        "books": {"title": "Nothing", "year": 1999, "copies": 1},
        "loans": {
            "book_id": NEW,
            "member_id": NEW,
            "taken_on": data.TODAY,
            "due_on": data.TODAY + data.days(28),
            "returned_on": None,
        },
    }
    values = {"id": number, **usual[table], **values}
    return insertion(table), tuple(values.values()), f"a row of {table} {what}"


def good(number):
    return [
        row("members", number, "that keeps all rules"),
        row("books", number, "that keeps all rules"),
        row("books", number + 1, "with 0 copies", copies=0),
        row("loans", number, "that keeps all rules"),
        row("loans", number + 1, "that was returned when it was taken", returned_on=data.TODAY),
    ]


UNIQUE = [
    row("members", NEW, "with an id that is there", email="somebody@example.org"),
    row("members", NEW + 9, "with an email that is there", email=f"nobody{NEW}@example.org"),
    row("books", NEW, "with an id that is there"),
    row("loans", NEW, "with an id that is there"),
]
RELATED = [
    row("loans", NEW + 9, "with a book that is not there", book_id=NEW + 99),
    row("loans", NEW + 9, "with a member that is not there", member_id=NEW + 99),
    ("DELETE FROM public.books WHERE id = %s", (NEW,), "the deletion of a book with loans"),
    ("DELETE FROM public.members WHERE id = %s", (NEW,), "the deletion of a member with loans"),
]
CHECKED = [
    row("books", NEW + 9, "with -1 copies", copies=-1),
    row("books", NEW + 9, "with a blank title", title="  "),
    row("loans", NEW + 9, "that is due before it was taken", due_on=EARLIER),
    row("loans", NEW + 9, "that was returned before it was taken", returned_on=EARLIER),
]
COMPLETE = [
    row(table, NEW + 9, f"without {column}", **{column: None})
    for table, columns in data.TABLES.items()
    for column in columns
    if column != "returned_on"
]


# ---- the tests ---------------------------------------------------------------------------


class Library:
    """A project, and the right answers."""

    def __init__(self):
        address = urllib.parse.urlsplit(os.environ["SUBJECT_URL"])
        self.project = Server(host=address.hostname, port=address.port)
        reference = Server.own()
        reference.session(functools.partial(load_schema, (REFERENCE / "schema.sql").read_text()), LOAD_S)
        reference.session(load_data, LOAD_S)
        self.right = {}
        for name in QUERIES:
            query = (REFERENCE / "queries" / f"{name}.sql").read_text()
            self.right[name] = reference.session(functools.partial(answer, query), LOAD_S)
        self.why_not = None  # the project has no data; unknown before it was tried

    def load(self):
        """Loads the schema and the data, once."""
        if self.why_not is None:
            try:
                self.project.session(functools.partial(load_schema, self.project.read("schema.sql")), LOAD_S)
                self.project.session(load_data, LOAD_S)
                self.why_not = ""
            except Wrong as error:
                self.why_not = f"the data could not be loaded: {error}"
        if self.why_not:
            raise Wrong(self.why_not)

    def takes_data(self):
        self.load()
        seen = self.project.session(content, LOAD_S)
        for table in data.TABLES:
            rows = [[text_of(value) for value in row] for row in sorted(ROWS[table])]
            if seen[table] != rows:
                raise Wrong(f"the table {table} does not contain the rows that were inserted")

    def keeps_rules(self, bad):
        self.load()
        self.project.session(functools.partial(rules, good, bad), LOAD_S)

    def answers(self, name):
        self.load()
        query = self.project.read(f"queries/{name}.sql")
        got, wanted = self.project.session(functools.partial(answer, query), QUERY_S), self.right[name]
        for number, (seen, right) in enumerate(zip(got, wanted), start=1):
            if seen != right:
                raise Wrong(f"row {number}: expected {right}, got {seen}")
        if len(got) != len(wanted):
            raise Wrong(f"expected {len(wanted)} rows, got {len(got)}")


TESTS = {
    "the schema takes the data": Library.takes_data,
    "ids and e-mail addresses are unique": lambda library: library.keeps_rules(UNIQUE),
    "a loan belongs to a book and a member": lambda library: library.keeps_rules(RELATED),
    "values are checked": lambda library: library.keeps_rules(CHECKED),
    "nothing but returned_on may be missing": lambda library: library.keeps_rules(COMPLETE),
    **{name: functools.partial(Library.answers, name=name) for name in QUERIES},
}


def main():
    report = Report(TESTS)
    library = Library()
    slow = 0
    for name, test in TESTS.items():
        begun, message = time.monotonic(), ""
        try:
            if slow >= MAX_SLOW:
                raise Wrong(f"not tried: {MAX_SLOW} tests took too long")
            test(library)
        except Wrong as error:
            slow += isinstance(error, Slow)
            message = str(error) or "failed"
        except psycopg2.Error:
            message = "the server does not answer any more"
        except Exception as error:  # what this driver did not foresee fails its test only
            message = f"unexpected ({type(error).__name__})"
        shown = report.ended(name, message, time.monotonic() - begun)
        if name not in HIDDEN:
            print(f"{'FAILED' if shown else 'ok    '}  {name}{': ' if shown else ''}{shown}", flush=True)


main()
