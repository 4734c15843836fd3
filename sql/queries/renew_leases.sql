-- Renews the leases that one worker still works on, and says which it has and which were asked to
-- stop. A run that the worker no longer knows is not renewed and becomes stale.
UPDATE project_evaluation_runs
SET heartbeat_at = clock_timestamp()
WHERE worker_id = $1 AND id = ANY ($2) AND status IN ('preparing', 'running', 'parsing')
RETURNING id, attempt, lease_epoch, cancel_requested_at IS NOT NULL AS "cancel_requested!"
