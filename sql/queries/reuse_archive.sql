-- An archive is about to be used again. Waits for whoever is deleting it; afterwards nobody begins to.
UPDATE archives
SET last_used_at = clock_timestamp()
WHERE sha256 = $1 AND last_used_at < clock_timestamp() - interval '1 hour'
