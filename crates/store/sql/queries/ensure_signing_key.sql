-- Makes a key known; whether it was retired since. The update changes nothing: it gives the row back.
INSERT INTO signing_keys (id, public_key)
VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET id = excluded.id
RETURNING retired_at
