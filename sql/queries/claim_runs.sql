-- The planner expects 1,000 rows of the function and would read every submission for them: the
-- LIMIT keeps it to one probe for each run that was claimed.
SELECT run.id AS "id!", run.project_submission_id AS "project_submission_id!",
    run.organization_id AS "organization_id!", run.template AS "template!", run.half_slots AS "half_slots!",
    run.attempt AS "attempt!", run.lease_epoch AS "lease_epoch!", run.submitted_at AS "submitted_at!",
    run.started_at AS "started_at!", submission.archive_sha256, submission.archive_bytes, submission.archive_entries
FROM claim_runs($1, $2, $3, $4) AS run
CROSS JOIN LATERAL (
    SELECT archive_sha256, archive_bytes, archive_entries
    FROM project_submissions
    WHERE id = run.project_submission_id
    LIMIT 1
) AS submission
