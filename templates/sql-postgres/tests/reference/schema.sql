CREATE TABLE members (id integer PRIMARY KEY, name text, email text);
CREATE TABLE books (id integer PRIMARY KEY, title text, year integer, copies integer);
CREATE TABLE loans (id integer PRIMARY KEY, book_id integer, member_id integer, taken_on date, due_on date, returned_on date);
