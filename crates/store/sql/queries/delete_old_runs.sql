-- Deletes the runs that ended longest ago, more than $1 days, with their events; then the submissions that
-- have no run left, with their keys. If output is deleted too ($2), a run stays until its output has gone:
-- nothing else knows where that lies. One statement: all of it or nothing. Arrays, because the planner
-- believes that a subquery gives thousands, and would read the tables from end to end.
WITH old AS MATERIALIZED (
    SELECT id, project_submission_id
    FROM project_evaluation_runs
    WHERE finished_at < now() - make_interval(days => $1)
      AND finished_at <= CASE WHEN $2::boolean
          THEN (SELECT retention.finished_at FROM retention WHERE what = 'output')
          ELSE 'infinity'
      END
      -- Of those that ended at the very time of the mark, not the ones behind it.
      AND (NOT $2 OR (finished_at, id) <= (
          SELECT retention.finished_at, retention.run_id FROM retention WHERE what = 'output'))
    ORDER BY finished_at, id
    LIMIT 100
    FOR UPDATE SKIP LOCKED
), events AS (
    DELETE FROM run_events WHERE run_id = ANY (ARRAY(SELECT id FROM old))
), runs AS (
    DELETE FROM project_evaluation_runs WHERE id = ANY (ARRAY(SELECT id FROM old))
), done AS MATERIALIZED (
    SELECT DISTINCT project_submission_id AS id
    FROM old
    WHERE NOT EXISTS (
        SELECT FROM project_evaluation_runs AS other
        WHERE other.project_submission_id = old.project_submission_id AND other.id NOT IN (SELECT id FROM old))
), keys AS (
    DELETE FROM idempotency_keys WHERE project_submission_id = ANY (ARRAY(SELECT id FROM done))
), submissions AS (
    DELETE FROM project_submissions WHERE id = ANY (ARRAY(SELECT id FROM done))
)
SELECT count(*) AS "deleted!" FROM old
