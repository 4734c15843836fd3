UPDATE project_evaluation_runs
SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())
WHERE id = $1 AND organization_id = $2 AND status IN ('preparing', 'running', 'parsing')
