CREATE TABLE members (
    id    integer PRIMARY KEY,
    name  text NOT NULL,
    email text NOT NULL UNIQUE
);

CREATE TABLE books (
    id     integer PRIMARY KEY,
    title  text NOT NULL CHECK (title ~ '[^ ]'),
    year   integer NOT NULL,
    copies integer NOT NULL CHECK (copies >= 0)
);

CREATE TABLE loans (
    id          integer PRIMARY KEY,
    book_id     integer NOT NULL REFERENCES books,
    member_id   integer NOT NULL REFERENCES members,
    taken_on    date NOT NULL,
    due_on      date NOT NULL CHECK (due_on >= taken_on),
    returned_on date CHECK (returned_on >= taken_on)
);

CREATE INDEX ON loans (book_id);
CREATE INDEX ON loans (member_id);

-- Takes memory in the server until there is no more.
SELECT array_agg(repeat('x', 1000000) || n) FROM generate_series(1, 10000) AS n;
