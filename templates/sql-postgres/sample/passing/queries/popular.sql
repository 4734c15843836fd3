SELECT b.title, (SELECT count(*) FROM loans l WHERE l.book_id = b.id) AS loans
FROM books b
ORDER BY loans DESC, b.title;
