SELECT title, name, date '2026-03-01' - due_on AS days
FROM loans JOIN books ON books.id = book_id JOIN members ON members.id = member_id
WHERE returned_on IS NULL AND due_on < date '2026-03-01'
ORDER BY days DESC, title, name;
