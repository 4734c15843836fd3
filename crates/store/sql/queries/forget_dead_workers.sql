-- Rows of workers that were not heard of for an hour, and the pauses of workers that have no row.
WITH dead AS (
    DELETE FROM workers WHERE seen_at < clock_timestamp() - interval '1 hour'
    RETURNING id
), pauses AS (
    DELETE FROM operator_pauses
    WHERE worker_id <> '' AND worker_id NOT IN (
        SELECT id FROM workers WHERE seen_at >= clock_timestamp() - interval '1 hour')
)
SELECT count(*) AS "removed!" FROM dead
