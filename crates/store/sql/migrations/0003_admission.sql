-- Admission: one call claims up to `most` runs that every cap allows.
--
-- The lock makes claims take turns. It is taken by a statement of its own inside the function, so
-- that the statements after it see all that the previous holder committed; in one plain statement
-- the snapshot would be older than the lock.
--
-- Each turn of the loop takes the oldest run among the heads of the classes that still fit: a
-- heavy run at the head never blocks a light one, and the cost is three index probes a run,
-- however long the queue.
CREATE FUNCTION claim_runs(
    claiming_worker text,
    worker_half_slots integer, -- free on the worker
    total_half_slots integer,  -- the cap over all workers
    most integer
) RETURNS SETOF project_evaluation_runs LANGUAGE plpgsql
-- Statistics that were taken while nothing was queued make the planner believe that nothing is: it
-- would read and sort the whole queue for each run that it claims. Where sorting costs most, only
-- runs_queue gives the heads in order. Compiling such a "costly" plan would take longer than running it.
SET enable_sort = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    free integer;
    claimed project_evaluation_runs;
BEGIN
    PERFORM pg_advisory_xact_lock(7020116191); -- "admission"; an arbitrary constant, used nowhere else
    SELECT least(worker_half_slots, total_half_slots - coalesce(sum(half_slots), 0))
        INTO free
        FROM project_evaluation_runs
        WHERE status IN ('preparing', 'running', 'parsing');

    FOR turn IN 1..most LOOP
        UPDATE project_evaluation_runs
            SET status = 'preparing',
                worker_id = claiming_worker,
                lease_epoch = lease_epoch + 1,
                heartbeat_at = clock_timestamp(),
                started_at = clock_timestamp(),
                failure_code = NULL,
                evidence = NULL
            WHERE id = (
                SELECT head.id
                FROM (VALUES (1), (2), (4)) AS class (weight)
                CROSS JOIN LATERAL (
                    SELECT id, submitted_at
                    FROM project_evaluation_runs
                    WHERE status = 'queued' AND half_slots = class.weight
                    ORDER BY submitted_at, id
                    LIMIT 1
                    FOR UPDATE SKIP LOCKED
                ) AS head
                WHERE class.weight <= free
                ORDER BY head.submitted_at, head.id
                LIMIT 1
            )
            RETURNING * INTO claimed;
        EXIT WHEN NOT FOUND;
        free := free - claimed.half_slots;
        RETURN NEXT claimed;
    END LOOP;
END $$;

-- The submission of a run that was just claimed. A function of its own, and volatile, because it then
-- sees what was committed while the claim waited for its lock: a join would look with the snapshot
-- of the whole statement, miss the newest submissions, and lose the claims of their runs.
CREATE FUNCTION claimed_submission(submission uuid) RETURNS project_submissions LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found_submission project_submissions;
BEGIN
    SELECT * INTO STRICT found_submission FROM project_submissions WHERE id = submission;
    RETURN found_submission;
END $$;
