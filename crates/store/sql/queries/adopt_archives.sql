-- Archives in the blob store that nothing here knows of, from inserts that failed: from now on they age
-- like the others.
INSERT INTO archives (sha256)
SELECT unnest($1::text[])
ON CONFLICT DO NOTHING
