-- Takes over a run from a worker ($5) that is gone, in the same attempt: the next epoch shuts the old
-- holder out. $6: whether that worker is known to be gone; if not, its lease must still be stale
-- ($7 seconds) now. $8 takes it; $9: whether the old holder crashed with it. Of the workers that died
-- with a run three are counted: the one that takes it to end it may die as well. $10: the stage that it
-- was seen in, from which on the new holder writes.
UPDATE project_evaluation_runs AS run
SET worker_id = $8, lease_epoch = run.lease_epoch + 1, heartbeat_at = clock_timestamp(),
    crashes = least(run.crashes + $9::boolean::integer, 3)
FROM project_submissions AS submission
WHERE run.id = $1 AND run.attempt = $2 AND run.lease_epoch = $3 AND run.status = $4 AND run.worker_id = $5
  AND run.phase IS NOT DISTINCT FROM $10
  AND ($6 OR run.heartbeat_at < clock_timestamp() - make_interval(secs => $7))
  AND submission.id = run.project_submission_id
RETURNING run.id, run.project_submission_id, run.organization_id, run.template, run.half_slots, run.attempt,
    run.lease_epoch, run.crashes, run.submitted_at, run.started_at AS "started_at!", run.heartbeat_at AS "held_since!",
    coalesce(run.user_name, run.user_ref) AS "user!", submission.archive_sha256, submission.archive_bytes, submission.archive_entries,
    submission.repository_url, submission.repository_ref,
    submission.metadata::text AS "metadata!"
