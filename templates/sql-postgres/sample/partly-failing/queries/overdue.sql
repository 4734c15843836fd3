SELECT b.title, m.name, DATE '2026-03-01' - l.due_on AS days
FROM loans l
JOIN books b ON b.id = l.book_id
JOIN members m ON m.id = l.member_id
WHERE l.returned_on IS NULL AND l.due_on < DATE '2026-03-01'
ORDER BY days DESC, b.title, m.name;
