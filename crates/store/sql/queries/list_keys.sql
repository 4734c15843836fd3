SELECT key.id, organization.name AS organization, key.role AS "role!: Text<KeyRole>", key.label, key.created_at, key.expires_at,
    key.revoked_at
FROM api_keys AS key
JOIN organizations AS organization ON organization.id = key.organization_id
WHERE $1::text IS NULL OR organization.name = $1
ORDER BY key.created_at
LIMIT 1000
