-- The next runs after ($2, $3) that ended more than $1 days ago, in the order of their ends.
SELECT id, attempt, finished_at AS "finished_at!"
FROM project_evaluation_runs
WHERE finished_at < now() - make_interval(days => $1) AND (finished_at, id) > ($2, $3)
ORDER BY finished_at, id
LIMIT 200
