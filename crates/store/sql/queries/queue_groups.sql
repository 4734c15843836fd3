-- The first $1 runs that wait, by the age of their rows: all of them, and in groups by the reason why they wait, by template and
-- by organisation; of each kind the $7 largest groups. The reasons are those of `QueuedFacts::explain` with the caps $2 to $5,
-- but for slots that are reserved. $6 is what no cap explains: the reason why no worker claims, or that slots are missing.
WITH waiting AS MATERIALIZED (
    SELECT organization_id, user_ref, template, half_slots, submitted_at, not_before
    FROM project_evaluation_runs
    WHERE status = 'queued'
    ORDER BY status, created_at
    LIMIT $1
), active AS MATERIALIZED (
    SELECT organization_id, user_ref, half_slots
    FROM project_evaluation_runs
    WHERE status IN ('preparing', 'running', 'parsing')
), explained AS (
    SELECT waiting.organization_id, waiting.template, waiting.submitted_at,
        CASE
            WHEN waiting.not_before > clock_timestamp() THEN 'retry_backoff'
            WHEN $6 <> 'slots' THEN $6
            WHEN of_user.runs >= $5 THEN 'user_cap'
            WHEN of_organization.runs >= $4 THEN 'org_cap'
            WHEN waiting.half_slots = 1 AND of_class.api >= $3 THEN 'api_cap'
            WHEN waiting.half_slots > 1 AND of_class.browser >= $2 THEN 'browser_cap'
            ELSE $6
        END AS reason
    FROM waiting
    CROSS JOIN (
        SELECT count(*) FILTER (WHERE half_slots = 1) AS api, count(*) FILTER (WHERE half_slots > 1) AS browser FROM active
    ) AS of_class
    LEFT JOIN (SELECT organization_id, count(*) AS runs FROM active GROUP BY 1) AS of_organization
        ON of_organization.organization_id = waiting.organization_id
    LEFT JOIN (SELECT organization_id, user_ref, count(*) AS runs FROM active GROUP BY 1, 2) AS of_user
        ON of_user.organization_id = waiting.organization_id AND of_user.user_ref = waiting.user_ref
), grouped AS (
    SELECT reason, template, organization_id, count(*) AS runs, min(submitted_at) AS oldest,
        CASE GROUPING(reason, template, organization_id)
            WHEN 7 THEN 'all' WHEN 3 THEN 'reason' WHEN 5 THEN 'template' ELSE 'organization'
        END AS kind
    FROM explained
    GROUP BY GROUPING SETS ((), (reason), (template), (organization_id))
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY kind ORDER BY runs DESC, oldest) AS place FROM grouped
)
SELECT kind AS "kind!", coalesce(reason, template, (SELECT name FROM organizations WHERE id = organization_id), '') AS "name!",
    runs AS "runs!",
    CASE WHEN runs > 0 THEN greatest(extract(epoch FROM clock_timestamp() - oldest), 0)::double precision END
        AS "oldest_wait_s?"
FROM ranked
WHERE place <= $7
ORDER BY kind, place
