-- Deletes the oldest idempotency keys that are more than $1 days old.
DELETE FROM idempotency_keys
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM idempotency_keys
    WHERE created_at < now() - make_interval(days => $1)
    ORDER BY created_at
    LIMIT 500
    FOR UPDATE SKIP LOCKED
))
