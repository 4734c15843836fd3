-- One page of an organisation's runs in one state, newest first; $3 and $4 are the last row of the page before.
SELECT id, project_submission_id, organization_id, coalesce(user_name, user_ref) AS "user!", template, half_slots,
    status AS "status!: Text<Status>", phase AS "phase!: OptionalText<StageName>",
    attempt, lease_epoch, cancel_requested_at, submitted_at, created_at, started_at, finished_at,
    failure_code AS "failure_code!: OptionalText<FailureCode>", evidence AS "evidence: _", score, max_score
FROM project_evaluation_runs
WHERE organization_id = $1 AND status = $2 AND submitted_at <= coalesce($3, 'infinity'::timestamptz)
  AND (submitted_at, id) < (coalesce($3, 'infinity'::timestamptz), $4)
ORDER BY submitted_at DESC, id DESC
LIMIT $5
