-- What the first request with this key asked for and got.
SELECT request_sha256, project_submission_id
FROM idempotency_keys
WHERE organization_id = $1 AND key = $2
