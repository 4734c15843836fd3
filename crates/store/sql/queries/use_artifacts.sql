-- Artifacts are about to be stored. Waits for whoever is deleting one; afterwards nobody begins to. Every row is written in
-- any case, and in one order, so that two who store the same do not wait for each other.
INSERT INTO artifact_blobs (sha256)
SELECT DISTINCT unnest($1::text[]) AS sha256
ORDER BY sha256
ON CONFLICT (sha256) DO UPDATE SET last_used_at = excluded.last_used_at
