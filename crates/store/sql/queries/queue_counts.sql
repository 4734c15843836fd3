-- What is active by state, and how much waits (counted to 100,000: more is more).
SELECT status AS "status!: Text<Status>", count(*) AS "runs!", coalesce(sum(half_slots), 0) AS "half_slots!"
FROM project_evaluation_runs
WHERE status IN ('preparing', 'running', 'parsing')
GROUP BY status
UNION ALL
SELECT 'queued', count(*), coalesce(sum(half_slots), 0)
FROM (SELECT half_slots FROM project_evaluation_runs WHERE status = 'queued' LIMIT 100000) AS waiting
