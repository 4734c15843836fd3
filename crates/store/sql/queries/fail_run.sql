-- From where the run is ($4) to failed, timed_out or aborted ($5).
UPDATE project_evaluation_runs
SET status = $5, finished_at = clock_timestamp(), cause = $6, failure_code = $7, evidence = $8, envelope = $9
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = $4
