-- Every lease there is, with what tells whether anybody still works on it. A lease that was let go
-- has the time 0: its worker left the run for another to go on with.
SELECT id, attempt, lease_epoch, status AS "status!: Text<Status>", phase AS "phase!: OptionalText<StageName>", worker_id AS "worker_id!",
    heartbeat_at < clock_timestamp() - make_interval(secs => $1) AS "is_stale!",
    heartbeat_at = 'epoch' AS "is_released!"
FROM project_evaluation_runs
WHERE status IN ('preparing', 'running', 'parsing')
