-- The archive after ($2, $3) whose last use is longest ago, if that is more than $1 days: nobody can use it
-- again until the transaction ends. Nor is anything given whose run may still want it: last uses are exact
-- to the hour, and no run that waits or works is older than a day before its archive's.
SELECT sha256, last_used_at
FROM archives
WHERE (last_used_at, sha256) > ($2, $3)
  AND last_used_at < now() - make_interval(days => $1, hours => 1)
  AND last_used_at < coalesce(
      least((SELECT min(created_at) FROM project_evaluation_runs WHERE status = 'queued'),
            (SELECT min(created_at) FROM project_evaluation_runs WHERE status = 'preparing'),
            (SELECT min(created_at) FROM project_evaluation_runs WHERE status = 'running'),
            (SELECT min(created_at) FROM project_evaluation_runs WHERE status = 'parsing')) - interval '1 day',
      'infinity')
ORDER BY last_used_at, sha256
LIMIT 1
FOR UPDATE SKIP LOCKED
