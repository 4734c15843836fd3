-- An artifact that still no run names and nobody has used for a day: nobody can use it again until the transaction ends.
SELECT sha256
FROM artifact_blobs AS blob
WHERE sha256 = $1
  AND last_used_at < now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM run_artifacts WHERE run_artifacts.sha256 = blob.sha256)
FOR UPDATE SKIP LOCKED
