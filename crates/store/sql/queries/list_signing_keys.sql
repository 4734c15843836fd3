SELECT public_key, created_at, retired_at
FROM signing_keys
ORDER BY created_at, id
LIMIT 1200
