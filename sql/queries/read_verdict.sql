SELECT status AS "status: _", verdict AS "verdict: sqlx::types::Json<crate::verdict::Verdict>"
FROM project_evaluation_runs
WHERE id = $1 AND organization_id = $2
