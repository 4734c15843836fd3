-- How many rows the janitor would remove, each counted to $3: workers that were not heard of for an hour, idempotency keys that
-- are more than $1 days old, and runs that ended more than $2 days ago (none if $2 is 0).
SELECT
    (SELECT count(*) FROM (
        SELECT FROM workers WHERE seen_at < clock_timestamp() - interval '1 hour' LIMIT $3) AS dead) AS "workers!",
    (SELECT count(*) FROM (
        SELECT FROM idempotency_keys
        WHERE created_at < now() - make_interval(days => $1)
        ORDER BY created_at LIMIT $3) AS old) AS "idempotency_keys!",
    (SELECT count(*) FROM (
        SELECT FROM project_evaluation_runs
        WHERE $2 > 0 AND finished_at < now() - make_interval(days => $2)
        ORDER BY finished_at, id LIMIT $3) AS ended) AS "runs!"
