CREATE TABLE members (
    id    integer PRIMARY KEY,
    name  text NOT NULL
    email text NOT NULL UNIQUE
);
