SELECT name, email
FROM members
WHERE NOT EXISTS (SELECT FROM loans WHERE member_id = members.id)
ORDER BY name;
