-- An archive is about to be used. Waits for whoever is deleting it; afterwards nobody begins to. One row is written
-- in any case, so that it takes as long for an archive that is known as for one that is not: else one organisation
-- could find out what another has handed in.
INSERT INTO archives (sha256)
VALUES ($1)
ON CONFLICT (sha256) DO UPDATE SET last_used_at = excluded.last_used_at
