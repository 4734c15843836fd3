-- parsing -> completed, with the verdict and the signed statement of it.
UPDATE project_evaluation_runs
SET status = 'completed', finished_at = clock_timestamp(), verdict = $4, score = $5, max_score = $6, envelope = $7
WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = 'parsing'
