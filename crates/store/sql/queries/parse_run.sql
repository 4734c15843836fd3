-- running -> parsing.
UPDATE project_evaluation_runs
SET status = 'parsing'
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = 'running'
