-- This worker lives and is in this state. Returns the pauses of an operator that hold for it.
INSERT INTO workers (id, half_slots, state, detail, unenforced, version)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE
SET half_slots = excluded.half_slots, state = excluded.state, detail = excluded.detail,
    unenforced = excluded.unenforced, version = excluded.version, seen_at = clock_timestamp()
RETURNING (SELECT reason FROM operator_pauses WHERE worker_id = '') AS every_worker,
    (SELECT reason FROM operator_pauses WHERE worker_id = $1) AS this_worker
