-- The id of the organisation with this name, made if there was none. The update changes nothing: it
-- makes the row that another transaction made meanwhile come back too.
INSERT INTO organizations (id, name) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name
RETURNING id
