-- A submission, its first run and, if there is one, its idempotency key: all or nothing.
-- No row comes back when the key was used before. $3 is the user as it is counted, $16 as it was sent.
WITH fresh AS (
    INSERT INTO idempotency_keys (organization_id, key, request_sha256, project_submission_id)
    SELECT $2, $10, $11, $1
    WHERE $10::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING key
), submission AS (
    INSERT INTO project_submissions
        (id, organization_id, user_ref, user_name, template, archive_sha256, archive_bytes, archive_entries, metadata, receipt,
         repository_url, repository_ref, archive_contents)
    SELECT $1, $2, $3, nullif($16, $3), $4, $5, $6, $7, $8, $13, $14, $15, $17
    WHERE $10::text IS NULL OR EXISTS (SELECT 1 FROM fresh)
    RETURNING id, submitted_at
)
INSERT INTO project_evaluation_runs
    (id, project_submission_id, organization_id, user_ref, user_name, template, half_slots, submitted_at)
SELECT $12, submission.id, $2, $3, nullif($16, $3), $4, $9, submission.submitted_at
FROM submission
RETURNING submitted_at
