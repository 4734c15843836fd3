SELECT status AS "status!: Text<Status>", envelope AS "envelope: Json<Envelope>"
FROM project_evaluation_runs
WHERE id = $1 AND organization_id = $2
