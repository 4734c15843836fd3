-- A heartbeat of one run, for a worker that is about to do what only its holder may. What it has
-- let go it no longer holds.
UPDATE project_evaluation_runs
SET heartbeat_at = clock_timestamp()
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status IN ('preparing', 'running', 'parsing')
  AND heartbeat_at > 'epoch'
