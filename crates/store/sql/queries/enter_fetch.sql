-- Preparing, and now its repository is fetched.
UPDATE project_evaluation_runs
SET phase = 'fetch'
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = 'preparing'
