-- How many workers live, by the rule of `explain_queued`.
SELECT count(*) AS "workers!"
FROM workers
WHERE seen_at > clock_timestamp() - interval '30 seconds'
