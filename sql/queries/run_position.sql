-- Where a run is, for a worker that does not know whether its last write was made.
SELECT attempt, lease_epoch, status AS "status: _", phase AS "phase: _"
FROM project_evaluation_runs
WHERE id = $1
