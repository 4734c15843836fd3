-- Admission: which run is next, under every cap at once, and by turns.
--
-- The rules, in the order in which they count:
--   1. no cap is ever passed: half-slots of the worker and of all workers, runs with a browser (classes
--      B and C), runs of class A, runs of an organisation, runs of one of its users;
--   2. the organisation with the fewest active half-slots is next, then its user with the fewest active
--      runs, then the oldest run of that user; those who tie take turns, each after the one before;
--   3. a run that does not fit now lets lighter ones pass, in the same order, until it has waited for
--      `heavy_patience`; from then on the slots that come free are kept for it.
-- A reservation follows the turns on purpose. If the oldest heavy run of all came first, the bursts of
-- two organisations would keep everyone else's heavy runs from starting for as long as they last.
--
-- What it costs: one probe of an index for each organisation and user that is active, none for those
-- that wait. No index that a claim reads is read from a place where a transaction that stays open keeps
-- dead entries: see admission_turns and active_runs.

DROP FUNCTION claim_runs(text, integer, integer, integer);
DROP INDEX runs_queue;

-- What may be claimed now. Users are in the order of their bytes, whatever the database's language.
CREATE INDEX runs_queue ON project_evaluation_runs (half_slots, organization_id, user_ref COLLATE "C", submitted_at, id)
    WHERE status = 'queued' AND not_before IS NULL;

-- Whose turn it was: one row for each organisation that was ever claimed from, with its user. The newest
-- of all is the organisation's turn, the newest of an organisation its user's. A turn is a new row, and
-- the organisation's last one goes: so the newest entry of either index is always a living row, however
-- many dead ones lie behind it. Without its rows only the order of those who tie begins anew.
CREATE TABLE admission_turns (
    turn bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id uuid NOT NULL,
    user_ref text COLLATE "C" NOT NULL
);
CREATE INDEX admission_turns_organization ON admission_turns (organization_id, turn);

-- Where the active runs are to be found: the ids of all that were active after the last claim, in one
-- row, replaced like a turn. Only claims make runs active, so no other can be. The index of active runs
-- knows as well, but keeps an entry for every move of every run for as long as any transaction stays
-- open. `read_at` is when that index was read last; it is read again after a minute, and without a row.
CREATE TABLE admission_active (
    turn bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    runs uuid[] NOT NULL,
    read_at timestamptz NOT NULL
);

CREATE TYPE active_run AS (
    id uuid,
    organization_id uuid,
    user_ref text COLLATE "C",
    half_slots integer,
    worker_id text
);

-- What is active now, and when the index was read for it. For a claim only under its lock.
CREATE FUNCTION active_runs(OUT active active_run[], OUT read_at timestamptz) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    at timestamptz := clock_timestamp();
    last admission_active;
BEGIN
    SELECT * INTO last FROM admission_active ORDER BY turn DESC LIMIT 1;
    IF last.read_at BETWEEN at - interval '1 minute' AND at THEN
        read_at := last.read_at;
        -- Not by `status`: that would offer the planner the very index that is to be kept out of this.
        -- Whoever has a worker and no end is active.
        SELECT coalesce(array_agg((run.id, run.organization_id, run.user_ref, run.half_slots, run.worker_id)::active_run), '{}')
            INTO active
            FROM unnest(last.runs) AS known (id)
            CROSS JOIN LATERAL (SELECT * FROM project_evaluation_runs WHERE id = known.id) AS run
            WHERE run.worker_id IS NOT NULL AND run.finished_at IS NULL;
    ELSE
        read_at := at;
        SELECT coalesce(array_agg((id, organization_id, user_ref, half_slots, worker_id)::active_run), '{}')
            INTO active
            FROM project_evaluation_runs
            WHERE status IN ('preparing', 'running', 'parsing');
    END IF;
END $$;

-- The weights that the caps leave room for, whatever is free. A run heavier than all that a worker has
-- could never run there.
CREATE FUNCTION open_weights(
    active active_run[], worker_capacity integer, total_half_slots integer, max_browser integer, max_api integer
) RETURNS integer[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(weight)
    FROM (VALUES (1), (2), (4)) AS class (weight),
        (SELECT count(*) FILTER (WHERE half_slots = 1) AS api, count(*) FILTER (WHERE half_slots > 1) AS browser
         FROM unnest(active)) AS now
    WHERE weight <= least(worker_capacity, total_half_slots)
      AND CASE WHEN weight = 1 THEN now.api < max_api ELSE now.browser < max_browser END
$$;

-- The first organisation after this one that has a run of these weights to claim.
CREATE FUNCTION next_organization(weights integer[], after uuid) RETURNS uuid LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (
        SELECT head.organization_id
        FROM unnest(weights) AS class (weight)
        CROSS JOIN LATERAL (
            -- The whole order of the index is asked for, so that no other can give it.
            SELECT organization_id
            FROM project_evaluation_runs
            WHERE status = 'queued' AND not_before IS NULL AND half_slots = class.weight AND organization_id > after
            ORDER BY organization_id, user_ref COLLATE "C", submitted_at, id
            LIMIT 1
        ) AS head
        ORDER BY 1
        LIMIT 1
    );
END $$;

-- The first user after this one that has, in this organisation.
CREATE FUNCTION next_user(weights integer[], organization uuid, after text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (
        SELECT head.user_ref
        FROM unnest(weights) AS class (weight)
        CROSS JOIN LATERAL (
            SELECT user_ref
            FROM project_evaluation_runs
            WHERE status = 'queued' AND not_before IS NULL AND half_slots = class.weight
              AND organization_id = organization AND user_ref COLLATE "C" > after
            ORDER BY organization_id, user_ref COLLATE "C", submitted_at, id
            LIMIT 1
        ) AS head
        ORDER BY head.user_ref COLLATE "C"
        LIMIT 1
    );
END $$;

CREATE TYPE queued_run AS (
    id uuid,
    half_slots integer,
    submitted_at timestamptz
);

-- The oldest run of a user, but for those that are passed over; all NULL if there is none.
CREATE FUNCTION next_of_user(weights integer[], organization uuid, of_user text, passed uuid[])
RETURNS queued_run LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    oldest queued_run;
BEGIN
    SELECT head.id, class.weight, head.submitted_at
        INTO oldest
        FROM unnest(weights) AS class (weight)
        CROSS JOIN LATERAL (
            SELECT id, submitted_at
            FROM project_evaluation_runs
            WHERE status = 'queued' AND not_before IS NULL AND half_slots = class.weight
              AND organization_id = organization AND user_ref COLLATE "C" = of_user AND id <> ALL (passed)
            ORDER BY organization_id, user_ref COLLATE "C", submitted_at, id
            LIMIT 1
        ) AS head
        ORDER BY head.submitted_at, head.id
        LIMIT 1;
    RETURN oldest;
END $$;

-- The next run of an organisation: of its users with a run to claim and fewer than `per_user` active,
-- the one with the fewest; those who tie take turns.
CREATE FUNCTION next_of_organization(
    active active_run[], weights integer[], organization uuid, per_user integer, passed uuid[]
) RETURNS queued_run LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found_run queued_run;
    -- No user is the empty text, and no text comes before it.
    last_turn text COLLATE "C" := coalesce((
        SELECT user_ref FROM admission_turns WHERE organization_id = organization ORDER BY turn DESC LIMIT 1), '');
    candidate text COLLATE "C" := last_turn;
    is_second_round boolean := false;
    busy text[] := ARRAY(SELECT run.user_ref FROM unnest(active) AS run WHERE run.organization_id = organization);
BEGIN
    LOOP
        candidate := next_user(weights, organization, candidate);
        IF candidate IS NULL OR (is_second_round AND candidate > last_turn) THEN
            EXIT WHEN is_second_round OR last_turn = '';
            is_second_round := true;
            candidate := '';
            CONTINUE;
        END IF;
        CONTINUE WHEN candidate = ANY (busy);
        found_run := next_of_user(weights, organization, candidate, passed);
        IF found_run.id IS NOT NULL THEN
            RETURN found_run;
        END IF;
    END LOOP;
    FOR candidate IN
        SELECT run.user_ref
        FROM unnest(active) AS run
        WHERE run.organization_id = organization
        GROUP BY run.user_ref
        HAVING count(*) < per_user
        ORDER BY count(*), run.user_ref <= last_turn, run.user_ref
    LOOP
        found_run := next_of_user(weights, organization, candidate, passed);
        EXIT WHEN found_run.id IS NOT NULL;
    END LOOP;
    RETURN found_run;
END $$;

-- The next run of all that may be claimed: of the organisations with such a run and fewer than `per_org`
-- active, that of the one with the fewest active half-slots; those who tie take turns. All NULL if there
-- is none. Organisations with nothing active come first and are found by leaping from one to the next,
-- over at most as many as are active.
CREATE FUNCTION next_run(active active_run[], weights integer[], per_org integer, per_user integer, passed uuid[])
RETURNS queued_run LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found_run queued_run;
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    last_turn uuid := coalesce((SELECT organization_id FROM admission_turns ORDER BY turn DESC LIMIT 1), nobody);
    candidate uuid := last_turn;
    is_second_round boolean := false;
    busy uuid[] := ARRAY(SELECT run.organization_id FROM unnest(active) AS run);
BEGIN
    LOOP
        candidate := next_organization(weights, candidate);
        IF candidate IS NULL OR (is_second_round AND candidate > last_turn) THEN
            EXIT WHEN is_second_round OR last_turn = nobody;
            is_second_round := true;
            candidate := nobody;
            CONTINUE;
        END IF;
        CONTINUE WHEN candidate = ANY (busy);
        found_run := next_of_organization(active, weights, candidate, per_user, passed);
        IF found_run.id IS NOT NULL THEN
            RETURN found_run;
        END IF;
    END LOOP;
    FOR candidate IN
        SELECT run.organization_id
        FROM unnest(active) AS run
        GROUP BY run.organization_id
        HAVING count(*) < per_org
        ORDER BY sum(run.half_slots), run.organization_id <= last_turn, run.organization_id
    LOOP
        found_run := next_of_organization(active, weights, candidate, per_user, passed);
        EXIT WHEN found_run.id IS NOT NULL;
    END LOOP;
    RETURN found_run;
END $$;

-- One call claims up to `most` runs that every cap allows.
--
-- The lock makes claims take turns. It is taken by a statement of its own inside the function, so
-- that the statements after it see all that the previous holder committed; in one plain statement
-- the snapshot would be older than the lock.
CREATE FUNCTION claim_runs(
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
    PERFORM pg_advisory_xact_lock(7020116191); -- "admission"; an arbitrary constant, used nowhere else

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

-- How many runs an organisation has in the queue, or one of its users, counted to `most`.
CREATE FUNCTION count_claimable(weights integer[], organization uuid, of_user text, most bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF of_user IS NULL THEN
        RETURN (SELECT count(*) FROM (
            SELECT FROM unnest(weights) AS class (weight) CROSS JOIN LATERAL (
                SELECT FROM project_evaluation_runs
                WHERE status = 'queued' AND not_before IS NULL AND half_slots = class.weight
                  AND organization_id = organization
                ORDER BY organization_id, user_ref COLLATE "C", submitted_at, id
                LIMIT most) AS run
            LIMIT most) AS counted);
    END IF;
    RETURN (SELECT count(*) FROM (
        SELECT FROM unnest(weights) AS class (weight) CROSS JOIN LATERAL (
            SELECT FROM project_evaluation_runs
            WHERE status = 'queued' AND not_before IS NULL AND half_slots = class.weight
              AND organization_id = organization AND user_ref COLLATE "C" = of_user
            ORDER BY organization_id, user_ref COLLATE "C", submitted_at, id
            LIMIT most) AS run
        LIMIT most) AS counted);
END $$;

-- Where a queued run stands: the runs that by turns start before it, itself included, counted to `most`.
-- Its rank among its user's is its age; in its organisation each user, and among all each organisation,
-- starts as many runs as it has, but no more than this one needs. What is active now is not weighed.
CREATE FUNCTION queue_position(
    placed project_evaluation_runs, most bigint,
    OUT in_user bigint, OUT in_organization bigint, OUT in_all bigint
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    weights CONSTANT integer[] := '{1,2,4}';
    candidate_user text COLLATE "C" := '';
    candidate uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    in_user := (SELECT count(*) FROM (
        SELECT FROM unnest(weights) AS class (weight) CROSS JOIN LATERAL (
            SELECT FROM project_evaluation_runs
            WHERE status = 'queued' AND not_before IS NULL AND half_slots = class.weight
              AND organization_id = placed.organization_id AND user_ref COLLATE "C" = placed.user_ref
              AND (submitted_at, id) <= (placed.submitted_at, placed.id)
            ORDER BY organization_id, user_ref COLLATE "C", submitted_at, id
            LIMIT most) AS run
        LIMIT most) AS counted);
    -- One that waits for its next attempt is not in the queue's index yet.
    in_user := greatest(in_user, 1);
    in_organization := in_user;
    WHILE in_organization < most LOOP
        candidate_user := next_user(weights, placed.organization_id, candidate_user);
        EXIT WHEN candidate_user IS NULL;
        CONTINUE WHEN candidate_user = placed.user_ref;
        in_organization := in_organization + CASE WHEN in_user = 1 THEN 1
            ELSE count_claimable(weights, placed.organization_id, candidate_user, in_user) END;
    END LOOP;
    in_organization := least(in_organization, most);
    in_all := in_organization;
    WHILE in_all < most LOOP
        candidate := next_organization(weights, candidate);
        EXIT WHEN candidate IS NULL;
        CONTINUE WHEN candidate = placed.organization_id;
        in_all := in_all + CASE WHEN in_organization = 1 THEN 1
            ELSE count_claimable(weights, candidate, NULL, in_organization) END;
    END LOOP;
    in_all := least(in_all, most);
END $$;

-- How long runs take and what they weigh, in the mean of the last 50 that ended, as far as they are known.
CREATE FUNCTION pace(OUT run_seconds double precision, OUT run_half_slots double precision) LANGUAGE sql VOLATILE AS $$
    SELECT avg(extract(epoch FROM last.finished_at - last.started_at)), avg(last.half_slots)
    FROM (
        SELECT ended.finished_at, ended.started_at, ended.half_slots
        FROM (VALUES ('completed'), ('failed'), ('timed_out')) AS outcome (status)
        CROSS JOIN LATERAL (
            SELECT finished_at, started_at, half_slots
            FROM project_evaluation_runs
            WHERE status = outcome.status
            ORDER BY status DESC, created_at DESC
            LIMIT 50
        ) AS ended
        ORDER BY ended.finished_at DESC
        LIMIT 50
    ) AS last
$$;

-- All that there is to say about why a run of this organisation waits; no row unless it is queued. Read
-- only, from the same functions as claims. A worker counts if it was seen within 30 s.
CREATE FUNCTION explain_queued(
    run uuid,
    organization uuid,
    total_half_slots integer,
    max_browser integer,
    max_api integer,
    per_org integer,
    per_user integer,
    heavy_patience double precision,
    most bigint
) RETURNS TABLE (
    half_slots integer,
    not_before timestamptz,
    attempt integer,
    -- Active now, under each cap.
    active_half_slots bigint,
    browser_runs bigint,
    api_runs bigint,
    organization_runs bigint,
    user_runs bigint,
    -- Workers that live, and those of them that claim: how many, all that they have, the most that one
    -- has, and the most that is free on one.
    live_workers bigint,
    claiming_workers bigint,
    claiming_half_slots bigint,
    largest_half_slots integer,
    free_half_slots bigint,
    -- What holds back the others: the weightiest reason and its words.
    held_by text,
    held_detail text,
    -- The run that slots are kept free for, if there is one.
    reserved_run uuid,
    reserved_half_slots integer,
    position_in_user bigint,
    position_in_organization bigint,
    queue_position bigint,
    run_seconds double precision,
    run_half_slots double precision,
    at timestamptz
) LANGUAGE plpgsql VOLATILE
SET enable_sort = off
SET enable_incremental_sort = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    asked project_evaluation_runs;
    active active_run[];
    next queued_run;
BEGIN
    SELECT * INTO asked FROM project_evaluation_runs AS found
        WHERE found.id = run AND found.organization_id = organization AND found.worker_id IS NULL AND found.finished_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    half_slots := asked.half_slots;
    not_before := asked.not_before;
    attempt := asked.attempt;
    at := clock_timestamp();

    SELECT now.active INTO active FROM active_runs() AS now;
    SELECT coalesce(sum(one.half_slots), 0), count(*) FILTER (WHERE one.half_slots > 1),
            count(*) FILTER (WHERE one.half_slots = 1),
            count(*) FILTER (WHERE one.organization_id = organization),
            count(*) FILTER (WHERE one.organization_id = organization AND one.user_ref = asked.user_ref)
        INTO active_half_slots, browser_runs, api_runs, organization_runs, user_runs
        FROM unnest(active) AS one;

    SELECT count(*), count(*) FILTER (WHERE state = 'claiming'),
            coalesce(sum(live.half_slots) FILTER (WHERE state = 'claiming'), 0),
            max(live.half_slots) FILTER (WHERE state = 'claiming'),
            max(live.half_slots - taken) FILTER (WHERE state = 'claiming')
        INTO live_workers, claiming_workers, claiming_half_slots, largest_half_slots, free_half_slots
        FROM workers AS live
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(one.half_slots), 0) AS taken FROM unnest(active) AS one WHERE one.worker_id = live.id
        ) AS load
        WHERE seen_at > at - interval '30 s';
    SELECT state, detail INTO held_by, held_detail
        FROM workers
        WHERE state <> 'claiming' AND seen_at > at - interval '30 s'
        ORDER BY array_position(ARRAY['host_pressure', 'paused', 'draining'], state), seen_at DESC
        LIMIT 1;

    -- As a claim of the largest worker sees it.
    next := next_run(active, open_weights(active, largest_half_slots, total_half_slots, max_browser, max_api),
        per_org, per_user, '{}');
    IF next.half_slots > least(free_half_slots, total_half_slots - active_half_slots)
       AND next.submitted_at <= at - make_interval(secs => heavy_patience) THEN
        reserved_run := next.id;
        reserved_half_slots := next.half_slots;
    END IF;

    SELECT place.in_user, place.in_organization, place.in_all
        INTO position_in_user, position_in_organization, queue_position
        FROM queue_position(asked, most) AS place;
    SELECT now.run_seconds, now.run_half_slots INTO run_seconds, run_half_slots FROM pace() AS now;
    RETURN NEXT;
END $$;

-- How many runs wait: of a user, of an organisation, of all; counted to `most`. Of a user's those that
-- wait for their next attempt are left out, there are never more of them than were active.
CREATE FUNCTION count_queued(organization uuid, of_user text, most bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE
SET enable_sort = off
SET enable_incremental_sort = off
SET enable_seqscan = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
BEGIN
    IF of_user IS NOT NULL THEN
        RETURN count_claimable('{1,2,4}', organization, of_user, most);
    ELSIF organization IS NOT NULL THEN
        RETURN (SELECT count(*) FROM (
            SELECT FROM project_evaluation_runs
            WHERE status = 'queued' AND organization_id = organization
            ORDER BY organization_id, status, submitted_at
            LIMIT most) AS waiting);
    END IF;
    RETURN (SELECT count(*) FROM (
        SELECT FROM project_evaluation_runs WHERE status = 'queued' ORDER BY status, created_at LIMIT most) AS waiting);
END $$;
