-- parsing -> completed, with the verdict, the signed statement of it, and the files that the run handed out ($8).
WITH ended AS (
    UPDATE project_evaluation_runs
    SET status = 'completed', finished_at = clock_timestamp(), verdict = $4, score = $5, max_score = $6, envelope = $7,
        artifacts_left_out = $9
    WHERE id = $1 AND attempt = $2 AND lease_epoch = $3 AND status = 'parsing'
    RETURNING id
), handed_out AS (
    INSERT INTO run_artifacts (run_id, origin, name, sha256, bytes, media_type, visibility)
    SELECT ended.id, file.origin, file.name, file.sha256, file.bytes, file.media_type, file.visibility
    FROM ended, jsonb_to_recordset($8::jsonb)
        AS file (origin text, name text, sha256 text, bytes bigint, media_type text, visibility text)
)
SELECT id FROM ended
