-- Renews all leases of one worker and says which it still has and which were asked to stop.
UPDATE project_evaluation_runs
SET heartbeat_at = clock_timestamp()
WHERE worker_id = $1 AND status IN ('preparing', 'running', 'parsing')
RETURNING id, attempt, lease_epoch, cancel_requested_at IS NOT NULL AS "cancel_requested!"
