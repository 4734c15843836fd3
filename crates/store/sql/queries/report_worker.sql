-- This worker lives and is in this state.
INSERT INTO workers (id, half_slots, state, detail, unenforced)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE
SET half_slots = excluded.half_slots, state = excluded.state, detail = excluded.detail,
    unenforced = excluded.unenforced, seen_at = clock_timestamp()
