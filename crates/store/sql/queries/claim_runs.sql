SELECT run.id AS "id!", run.project_submission_id AS "project_submission_id!",
    run.organization_id AS "organization_id!", run.template AS "template!", run.half_slots AS "half_slots!",
    run.attempt AS "attempt!", run.lease_epoch AS "lease_epoch!", run.crashes AS "crashes!", run.submitted_at AS "submitted_at!",
    run.started_at AS "started_at!", run.heartbeat_at AS "held_since!", coalesce(run.user_name, run.user_ref) AS "user!",
    submission.archive_sha256, submission.archive_bytes, submission.archive_entries, submission.repository_url,
    submission.repository_ref, submission.metadata::text AS "metadata!"
FROM claim_runs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS run
CROSS JOIN LATERAL claimed_submission(run.project_submission_id) AS submission
