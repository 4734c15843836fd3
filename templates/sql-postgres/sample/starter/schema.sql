-- The tables that the assignment describes. Your work: the rules for what is in them.
CREATE TABLE members (id integer, name text, email text);
CREATE TABLE books (id integer, title text, year integer, copies integer);
CREATE TABLE loans (id integer, book_id integer, member_id integer, taken_on date, due_on date, returned_on date);
