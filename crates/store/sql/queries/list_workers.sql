-- Up to 1,000 workers that were heard of within the hour, with what is active on them, by name.
SELECT worker.id, worker.version, worker.half_slots, worker.state, worker.detail, worker.started_at,
    greatest(extract(epoch FROM clock_timestamp() - worker.seen_at), 0)::double precision AS "seen_ago_s!",
    load.runs AS "runs!", load.half_slots AS "used_half_slots!", pause.reason AS "drain_reason?"
FROM workers AS worker
CROSS JOIN LATERAL (
    SELECT count(*) AS runs, coalesce(sum(half_slots), 0) AS half_slots
    FROM project_evaluation_runs
    WHERE worker_id = worker.id AND status IN ('preparing', 'running', 'parsing')
) AS load
LEFT JOIN operator_pauses AS pause ON pause.worker_id = worker.id
WHERE worker.seen_at >= clock_timestamp() - interval '1 hour'
ORDER BY worker.id
LIMIT 1000
