SELECT title, count(*) AS loans
FROM books JOIN loans ON books.id = book_id
GROUP BY books.id, title
ORDER BY loans DESC, title;
