-- Which of these runs are active, and in which attempt.
SELECT id, attempt
FROM project_evaluation_runs
WHERE id = ANY ($1) AND status IN ('preparing', 'running', 'parsing')
