SELECT id, project_submission_id, organization_id, coalesce(user_name, user_ref) AS "user!", template, half_slots,
    status AS "status!: Text<Status>", phase AS "phase!: OptionalText<StageName>",
    attempt, lease_epoch, cancel_requested_at, submitted_at, created_at, started_at, finished_at,
    failure_code AS "failure_code!: OptionalText<FailureCode>", evidence AS "evidence: _", score, max_score
FROM project_evaluation_runs
WHERE id = ANY ($1) AND organization_id = $2
ORDER BY id DESC
