-- Limits that do not hold where a worker lives, each once.
SELECT DISTINCT name AS "name!"
FROM workers, unnest(unenforced) AS name
WHERE seen_at > clock_timestamp() - interval '30 seconds'
ORDER BY 1
LIMIT 100
