-- preparing -> running, with the first stage.
UPDATE project_evaluation_runs
SET status = 'running', phase = $4
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = 'preparing'
