-- A queued run ends at once; an active one is asked to stop, once. An ended one stays as it is.
UPDATE project_evaluation_runs
SET status = 'aborted', finished_at = clock_timestamp(), cancel_requested_at = clock_timestamp(),
    not_before = NULL, cause = 'platform', failure_code = 'cancelled', evidence = $3
WHERE id = $1 AND organization_id = $2 AND status = 'queued'
