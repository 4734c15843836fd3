WITH gone AS (
    SELECT book_id, count(*) AS number FROM loans WHERE returned_on IS NULL GROUP BY book_id
)
SELECT b.title, b.copies - coalesce(g.number, 0) AS free
FROM books b LEFT JOIN gone g ON g.book_id = b.id
WHERE b.copies > coalesce(g.number, 0)
ORDER BY b.title;
