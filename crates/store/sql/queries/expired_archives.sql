-- Up to 200 archives after ($2, $3), by the rule of `lock_expired_archive`, without a lock.
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
LIMIT 200
