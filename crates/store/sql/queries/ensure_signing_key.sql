-- Makes a key known, and gives its times. The update changes nothing: it gives the row back.
INSERT INTO signing_keys (id, public_key)
VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET id = excluded.id
RETURNING public_key, created_at, retired_at
