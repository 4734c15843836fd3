-- Artifacts in the blob store that nothing here knows of, as after a backup was restored: from now on they age like the
-- others.
INSERT INTO artifact_blobs (sha256)
SELECT unnest($1::text[])
ON CONFLICT DO NOTHING
