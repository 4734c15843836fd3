-- A worker that stops lets go of what still runs: whoever finds it goes on with it at once.
UPDATE project_evaluation_runs
SET heartbeat_at = 'epoch'
WHERE worker_id = $1 AND status IN ('preparing', 'running', 'parsing')
