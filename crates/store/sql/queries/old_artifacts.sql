-- Up to 2,000 artifacts, after ($1, $2), that nobody has stored for a day, and whether a run names them. A run that is about
-- to end may have stored one before its row is there: hence the day. One probe for each: the planner would rather read all
-- rows of all runs.
WITH old AS MATERIALIZED (
    SELECT sha256, last_used_at
    FROM artifact_blobs
    WHERE (last_used_at, sha256) > ($1, $2) AND last_used_at < now() - interval '1 day'
    ORDER BY last_used_at, sha256
    LIMIT 2000
)
SELECT old.sha256, old.last_used_at, named.by_run IS NOT NULL AS "is_named!"
FROM old
LEFT JOIN LATERAL (
    SELECT true AS by_run FROM run_artifacts WHERE run_artifacts.sha256 = old.sha256 LIMIT 1
) AS named ON true
ORDER BY old.last_used_at, old.sha256
