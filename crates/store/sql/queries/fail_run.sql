-- From where the run is ($4) to failed, timed_out or aborted ($5), with the files that it handed out ($10).
WITH ended AS (
    UPDATE project_evaluation_runs
    SET status = $5, finished_at = clock_timestamp(), cause = $6, failure_code = $7, evidence = $8, envelope = $9,
        artifacts_left_out = $11
    WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = $4
    RETURNING id
), handed_out AS (
    INSERT INTO run_artifacts (run_id, origin, name, sha256, bytes, media_type, visibility)
    SELECT ended.id, file.origin, file.name, file.sha256, file.bytes, file.media_type, file.visibility
    FROM ended, jsonb_to_recordset($10::jsonb)
        AS file (origin text, name text, sha256 text, bytes bigint, media_type text, visibility text)
)
SELECT id FROM ended
