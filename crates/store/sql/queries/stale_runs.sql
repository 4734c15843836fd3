-- How many leases were not renewed for $1 seconds.
SELECT count(*) AS "stale!"
FROM project_evaluation_runs
WHERE status IN ('preparing', 'running', 'parsing')
  AND heartbeat_at < clock_timestamp() - make_interval(secs => $1)
