-- A key that is neither revoked nor expired.
SELECT organization_id, role AS "role!: Text<KeyRole>", secret_sha256, clock_timestamp() AS "asked_at!"
FROM api_keys
WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
