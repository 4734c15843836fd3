SELECT title, count(loans.id) AS lent
FROM books LEFT JOIN loans ON books.id = book_id
GROUP BY books.id, title
ORDER BY lent DESC, title;
