-- What a run of an organisation handed out, and what it left out.
SELECT run.artifacts_left_out AS "left_out: Json<LeftOut>",
    (SELECT jsonb_agg(jsonb_build_object('name', name, 'origin', origin, 'sha256', sha256, 'bytes', bytes,
                'media_type', media_type, 'visibility', visibility) ORDER BY origin, name COLLATE "C")
     FROM run_artifacts WHERE run_id = run.id) AS "files: Json<Vec<Artifact>>"
FROM project_evaluation_runs AS run
WHERE run.organization_id = $1 AND run.id = $2
