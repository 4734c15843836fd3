-- The moves of a run after the event $2, oldest first.
SELECT id, attempt, at, from_status AS "from_status!: OptionalText<Status>", to_status AS "to_status!: Text<Status>", phase AS "phase!: OptionalText<StageName>",
    failure_code AS "failure_code!: OptionalText<FailureCode>"
FROM run_events
WHERE run_id = $1 AND id > $2 AND (evidence -> 'egress') IS NULL
ORDER BY id
LIMIT 200
