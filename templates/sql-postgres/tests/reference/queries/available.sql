SELECT title, copies - count(loans.id) AS free
FROM books LEFT JOIN loans ON books.id = book_id AND returned_on IS NULL
GROUP BY books.id, title, copies
HAVING copies > count(loans.id)
ORDER BY title;
