-- What a stage of a run connected to, or the fetch of its repository: an event beside its moves.
INSERT INTO run_events (run_id, attempt, from_status, to_status, phase, evidence)
SELECT id, attempt, status, status, phase, $4
FROM project_evaluation_runs
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status IN ('preparing', 'running')
FOR SHARE
