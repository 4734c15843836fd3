SELECT status AS "status!: Text<Status>", verdict AS "verdict: Json<Verdict>"
FROM project_evaluation_runs
WHERE id = $1 AND organization_id = $2
