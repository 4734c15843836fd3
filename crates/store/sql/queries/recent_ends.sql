-- How runs ended within the last $1 seconds, by state and failure code; of the newest 10,000.
SELECT status AS "status!: Text<Status>", failure_code AS "failure_code!: OptionalText<FailureCode>", count(*) AS "runs!"
FROM (
    SELECT status, failure_code
    FROM project_evaluation_runs
    WHERE finished_at > now() - make_interval(secs => $1)
    ORDER BY finished_at DESC, id DESC
    LIMIT 10000
) AS ended
GROUP BY status, failure_code
ORDER BY 3 DESC, 1, 2
