-- Renews the leases that one worker still works on, and says which it has and which were asked to
-- stop. A run that the worker no longer knows is not renewed and becomes stale; one that it has let go
-- (its time is 0) stays so, whatever of its renewals was still on the way.
UPDATE project_evaluation_runs
SET heartbeat_at = clock_timestamp()
WHERE worker_id = $1 AND id = ANY ($2) AND status IN ('preparing', 'running', 'parsing') AND heartbeat_at > 'epoch'
RETURNING id, attempt, lease_epoch, cancel_requested_at IS NOT NULL AS "cancel_requested!"
