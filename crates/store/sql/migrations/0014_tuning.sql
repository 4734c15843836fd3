-- expand: how the tables are looked after, and who may end a run.

-- Every claim replaces a row of these tables, and a handful of rows is alive. By the defaults they would be vacuumed
-- after 50 dead rows at the earliest and then in turn with the large tables; here it is after 500, at once and without
-- a pause, and never by the size of the table.
ALTER TABLE admission_turns SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE admission_active SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0);

-- Rows that are only inserted are marked as visible to all, so that an index alone answers.
ALTER TABLE run_events SET (autovacuum_vacuum_insert_scale_factor = 0.02);

-- Who may not write a verdict (a role without UPDATE on it, like assize_api) may end a run in one way only: cancel it
-- while it is queued. Rights alone cannot say that, because a cancel writes the columns that every end writes. Heartbeats
-- write none of these columns, so that the trigger does not run for them.
CREATE FUNCTION check_run_writer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT has_column_privilege(TG_RELID, 'verdict', 'UPDATE')
       AND NOT (OLD.status = 'queued' AND NEW.status = 'aborted'
                AND NEW.cause = 'platform' AND NEW.failure_code = 'cancelled')
    THEN
        RAISE EXCEPTION 'the role % may only cancel a queued run; run % is % and would be %',
            current_user, OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER runs_writer BEFORE UPDATE OF status, finished_at, not_before, cause, failure_code, evidence
    ON project_evaluation_runs
    FOR EACH ROW EXECUTE FUNCTION check_run_writer();
