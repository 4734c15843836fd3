UPDATE signing_keys SET retired_at = clock_timestamp() WHERE id = $1 AND retired_at IS NULL
