-- One page of an organisation's runs, newest first; $2 is the last id of the page before. ANY and the
-- order by organisation keep the planner from walking the primary key, through the runs of all others.
SELECT id, project_submission_id, organization_id, coalesce(user_name, user_ref) AS "user!", template, half_slots,
    status AS "status!: Text<Status>", phase AS "phase!: OptionalText<StageName>",
    attempt, lease_epoch, cancel_requested_at, submitted_at, created_at, started_at, finished_at,
    failure_code AS "failure_code!: OptionalText<FailureCode>", evidence AS "evidence: _", score, max_score
FROM project_evaluation_runs
WHERE organization_id = ANY (ARRAY[$1::uuid]) AND id < $2
ORDER BY organization_id, id DESC
LIMIT $3
