UPDATE project_evaluation_runs
SET phase = $4
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = 'running'
