-- The files of these runs have expired with their output.
DELETE FROM run_artifacts WHERE run_id = ANY ($1)
