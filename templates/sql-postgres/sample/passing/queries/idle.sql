SELECT m.name, m.email
FROM members m LEFT JOIN loans l ON l.member_id = m.id
WHERE l.id IS NULL
ORDER BY m.name;
