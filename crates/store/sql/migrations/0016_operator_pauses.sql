-- expand: pauses that an operator sets, of every worker or of one, which then drains.

-- One row while an operator wants no claims. It has no foreign key, because a claim reads it: the rows of `workers`
-- change every few seconds, and while a transaction stays open their dead versions pile up; these rows hardly ever change.
CREATE TABLE operator_pauses (
    -- The worker that drains; empty stands for every worker.
    worker_id text PRIMARY KEY CHECK (length(worker_id) <= 500),
    -- For people. Those whose runs wait read it.
    reason text NOT NULL CHECK (length(reason) <= 200),
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Once this is committed, no claim of the worker, or of any if it is empty, succeeds: claims that came before it have ended
-- when the lock of claims is free, and those after it see the row.
CREATE FUNCTION pause_claims(of_worker text, why text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7020116191);
    INSERT INTO operator_pauses (worker_id, reason) VALUES (of_worker, why)
        ON CONFLICT (worker_id) DO UPDATE SET reason = excluded.reason;
END $$;

-- The version of the worker's program, for the list of workers; empty for a program that does not report it.
ALTER TABLE workers ADD COLUMN version text NOT NULL DEFAULT '';

-- As in 0005, with one probe more: nothing is claimed while an operator paused this worker or all. The function is replaced
-- and not dropped, so that a worker of an earlier version obeys as well.
-- One call claims up to `most` runs that every cap allows.
--
-- The lock makes claims take turns. It is taken by a statement of its own inside the function, so
-- that the statements after it see all that the previous holder committed; in one plain statement
-- the snapshot would be older than the lock.
CREATE OR REPLACE FUNCTION claim_runs(
    claiming_worker text,
    worker_half_slots integer, -- free on the worker
    worker_capacity integer,   -- half-slots of the worker, free or not
    total_half_slots integer,  -- the cap over all workers
    max_browser integer,       -- active runs of the classes B and C
    max_api integer,           -- active runs of class A
    per_org integer,           -- active runs of one organisation
    per_user integer,          -- active runs of one of its users
    heavy_patience double precision, -- seconds
    most integer
) RETURNS SETOF project_evaluation_runs LANGUAGE plpgsql
-- Statistics that were taken while nothing was queued make the planner believe that nothing is: it
-- would read and sort the whole queue for each run that it claims. Where sorting costs most, only
-- runs_queue gives the heads in order. One plan for all arguments is made once for each connection;
-- compiling such a "costly" plan would take longer than running it.
SET enable_sort = off
SET enable_incremental_sort = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
DECLARE
    active active_run[];
    index_read_at timestamptz;
    is_changed boolean;
    used integer;
    free integer;
    open integer[];
    fitting integer[];
    passed uuid[] := '{}';
    next queued_run;
    claimed project_evaluation_runs;
BEGIN
    PERFORM pg_advisory_xact_lock(7020116191); -- "admission"; an arbitrary constant, used by `pause_claims` too

    IF EXISTS (SELECT FROM operator_pauses WHERE worker_id = '')
       OR EXISTS (SELECT FROM operator_pauses WHERE worker_id = claiming_worker) THEN
        RETURN;
    END IF;

    UPDATE project_evaluation_runs
        SET not_before = NULL
        WHERE id IN (
            SELECT id FROM project_evaluation_runs
            WHERE not_before <= clock_timestamp()
            ORDER BY not_before LIMIT 100
            FOR UPDATE SKIP LOCKED);

    SELECT now.active, now.read_at INTO active, index_read_at FROM active_runs() AS now;
    is_changed := index_read_at > transaction_timestamp();
    used := coalesce((SELECT sum(run.half_slots) FROM unnest(active) AS run), 0);
    free := least(worker_half_slots, total_half_slots - used);

    WHILE most > 0 LOOP
        open := open_weights(active, worker_capacity, total_half_slots, max_browser, max_api);
        fitting := ARRAY(SELECT weight FROM unnest(open) AS class (weight) WHERE weight <= free);
        EXIT WHEN fitting = '{}';
        next := next_run(active, open, per_org, per_user, passed);
        EXIT WHEN next.id IS NULL;
        IF next.half_slots > free THEN
            EXIT WHEN next.submitted_at <= clock_timestamp() - make_interval(secs => heavy_patience);
            next := next_run(active, fitting, per_org, per_user, passed);
            EXIT WHEN next.id IS NULL;
        END IF;

        UPDATE project_evaluation_runs
            SET status = 'preparing',
                worker_id = claiming_worker,
                lease_epoch = lease_epoch + 1,
                heartbeat_at = clock_timestamp(),
                started_at = clock_timestamp(),
                failure_code = NULL,
                evidence = NULL
            WHERE id = (
                -- Not by `status` here either: the planner shall not look for it in the queue.
                SELECT id FROM project_evaluation_runs
                WHERE id = next.id AND worker_id IS NULL AND finished_at IS NULL AND not_before IS NULL
                FOR UPDATE SKIP LOCKED)
            RETURNING * INTO claimed;
        IF NOT FOUND THEN
            -- Someone is cancelling it.
            passed := passed || next.id;
            CONTINUE;
        END IF;

        DELETE FROM admission_turns WHERE turn = (
            SELECT turn FROM admission_turns
            WHERE organization_id = claimed.organization_id ORDER BY turn DESC LIMIT 1);
        INSERT INTO admission_turns (organization_id, user_ref) VALUES (claimed.organization_id, claimed.user_ref);
        active := active || (claimed.id, claimed.organization_id, claimed.user_ref, claimed.half_slots, claimed.worker_id)::active_run;
        free := free - claimed.half_slots;
        most := most - 1;
        is_changed := true;
        RETURN NEXT claimed;
    END LOOP;

    IF is_changed THEN
        DELETE FROM admission_active WHERE turn = (SELECT turn FROM admission_active ORDER BY turn DESC LIMIT 1);
        INSERT INTO admission_active (runs, read_at)
            VALUES (ARRAY(SELECT run.id FROM unnest(active) AS run), index_read_at);
    END IF;
END $$;
