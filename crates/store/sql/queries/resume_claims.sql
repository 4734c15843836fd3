-- The pause of this worker, or of every worker if it is empty, ends.
DELETE FROM operator_pauses WHERE worker_id = $1
