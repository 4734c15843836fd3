-- The archive and the commit that a run fetched for its submission. Whoever was first stays: a submission has
-- one commit, however often and by how many it is fetched. What it has now.
UPDATE project_submissions AS submission
SET archive_sha256 = coalesce(submission.archive_sha256, $4),
    archive_bytes = coalesce(submission.archive_bytes, $5),
    archive_entries = coalesce(submission.archive_entries, $6),
    archive_contents = coalesce(submission.archive_contents, $9),
    repository_commit = coalesce(submission.repository_commit, $7),
    receipt = coalesce(submission.receipt, $8)
FROM project_evaluation_runs AS run
WHERE run.id = $1 AND run.attempt = $2 AND run.lease_epoch = $3 AND run.status = 'preparing'
  AND submission.id = run.project_submission_id AND submission.repository_url IS NOT NULL
RETURNING submission.archive_sha256 AS "archive_sha256!", submission.repository_commit AS "commit!"
