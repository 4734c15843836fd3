SELECT status AS "status: _", envelope AS "envelope: sqlx::types::Json<crate::signing::Envelope>"
FROM project_evaluation_runs
WHERE id = $1 AND organization_id = $2
