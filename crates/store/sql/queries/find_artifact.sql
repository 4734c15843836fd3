-- An artifact of a run of an organisation, by its name; of two with the same name that of the driver, unless $4 names the
-- origin.
SELECT artifact.sha256, artifact.bytes, artifact.media_type
FROM run_artifacts AS artifact
JOIN project_evaluation_runs AS run ON run.id = artifact.run_id
WHERE run.organization_id = $1 AND run.id = $2 AND artifact.name = $3 AND ($4::text IS NULL OR artifact.origin = $4)
ORDER BY artifact.origin
LIMIT 1
