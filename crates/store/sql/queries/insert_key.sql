INSERT INTO api_keys (id, organization_id, role, secret_sha256, label, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
