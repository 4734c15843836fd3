-- All output up to this run has been deleted. Of two that delete, the slower one does not set it back.
INSERT INTO retention (what, finished_at, run_id)
VALUES ('output', $1, $2)
ON CONFLICT (what) DO UPDATE SET finished_at = excluded.finished_at, run_id = excluded.run_id
WHERE (retention.finished_at, retention.run_id) < (excluded.finished_at, excluded.run_id)
