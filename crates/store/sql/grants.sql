-- What the roles of the processes may do, table by table and column by column. `assize migrate` runs this as the owner
-- after every migration, in one transaction, if the roles exist (postgres/roles.sql makes them). It can be repeated.
--
-- tests/store/rights.rs runs every query of crates/store/sql/queries as every role: a query that needs more fails there, and
-- so does a write that its role should not be able to make.

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM assize_api, assize_worker, assize_monitor;
GRANT USAGE ON SCHEMA public TO assize_api, assize_worker, assize_monitor;

-- Both processes -------------------------------------------------------------------------------------------------------

GRANT SELECT ON _sqlx_migrations TO assize_api, assize_worker, assize_monitor;

-- A claim, and the explanation of why a run waits, read whole rows of runs.
GRANT SELECT ON project_evaluation_runs, project_submissions, run_artifacts, admission_turns, admission_active, workers,
    operator_pauses, archives TO assize_api, assize_worker;

-- A process makes its public key known when it starts. UPDATE of the id is what `ON CONFLICT ... RETURNING` asks for; a
-- key's id is the hash of the key, so that verifiers do not depend on it.
GRANT SELECT ON signing_keys TO assize_api, assize_worker;
GRANT INSERT (id, public_key), UPDATE (id) ON signing_keys TO assize_api, assize_worker;

-- The trigger `record_run_event` writes the event of each move with the rights of whoever moves the run.
GRANT INSERT (run_id, attempt, from_status, to_status, phase, failure_code, evidence) ON run_events
    TO assize_api, assize_worker;

-- The trigger `use_archive` does the same for the row of an archive.
GRANT INSERT (sha256), UPDATE (last_used_at) ON archives TO assize_api, assize_worker;

-- The API --------------------------------------------------------------------------------------------------------------

GRANT SELECT ON api_keys, run_events TO assize_api;
GRANT SELECT (organization_id, key, request_sha256, project_submission_id) ON idempotency_keys TO assize_api;
GRANT INSERT (organization_id, key, request_sha256, project_submission_id) ON idempotency_keys TO assize_api;
GRANT INSERT (id, organization_id, user_ref, user_name, template, archive_sha256, archive_bytes, archive_entries, metadata,
    receipt, repository_url, repository_ref, archive_contents) ON project_submissions TO assize_api;
-- A new run is queued: status and everything after it have their defaults.
GRANT INSERT (id, project_submission_id, organization_id, user_ref, user_name, template, half_slots, submitted_at)
    ON project_evaluation_runs TO assize_api;
-- A cancel: of an active run only the request; of a queued run its end, which the trigger `runs_writer` holds to that
-- one move. There is no right to verdict, score, max_score, envelope, lease or attempt.
GRANT UPDATE (cancel_requested_at, status, finished_at, not_before, cause, failure_code, evidence)
    ON project_evaluation_runs TO assize_api;

-- The worker -----------------------------------------------------------------------------------------------------------

-- Whose a run is, what it runs and when it came is not the worker's to change, nor whether somebody cancelled it.
GRANT UPDATE (status, phase, attempt, lease_epoch, worker_id, heartbeat_at, started_at, finished_at, not_before, crashes,
    cause, failure_code, evidence, verdict, score, max_score, envelope, artifacts_left_out)
    ON project_evaluation_runs TO assize_worker;
GRANT INSERT (organization_id, user_ref), DELETE ON admission_turns TO assize_worker;
GRANT INSERT (runs, read_at), DELETE ON admission_active TO assize_worker;
GRANT INSERT (id, half_slots, state, detail, unenforced, version),
    UPDATE (half_slots, state, detail, unenforced, version, seen_at), DELETE ON workers TO assize_worker;
-- An operator sets pauses, as the owner; the pause of a worker that is gone goes with its row.
GRANT DELETE ON operator_pauses TO assize_worker;
-- What a repository was at its commit.
GRANT UPDATE (archive_sha256, archive_bytes, archive_entries, archive_contents, repository_commit, receipt)
    ON project_submissions TO assize_worker;
GRANT INSERT (run_id, origin, name, sha256, bytes, media_type, visibility), DELETE ON run_artifacts TO assize_worker;
GRANT SELECT, INSERT (sha256), UPDATE (last_used_at), DELETE ON artifact_blobs TO assize_worker;
-- The janitor deletes what is old. UPDATE of one column is what `FOR UPDATE SKIP LOCKED` asks for.
GRANT SELECT, DELETE ON run_events, idempotency_keys TO assize_worker;
GRANT UPDATE (created_at) ON idempotency_keys TO assize_worker;
GRANT DELETE ON project_evaluation_runs, project_submissions, archives TO assize_worker;
GRANT SELECT, INSERT (what, finished_at, run_id), UPDATE (finished_at, run_id) ON retention TO assize_worker;

-- The monitor ----------------------------------------------------------------------------------------------------------

-- How many and how old; no names, no metadata, no keys, no verdicts.
GRANT SELECT (id, template, half_slots, status, phase, attempt, submitted_at, created_at, started_at, finished_at, cause,
    failure_code, heartbeat_at) ON project_evaluation_runs TO assize_monitor;
GRANT SELECT ON workers, operator_pauses TO assize_monitor;
