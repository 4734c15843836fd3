-- Where a run is, for a worker that does not know whether its last write was made.
SELECT attempt, lease_epoch, status AS "status!: Text<Status>", phase AS "phase!: OptionalText<StageName>"
FROM project_evaluation_runs
WHERE id = $1
