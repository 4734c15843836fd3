-- The pause of every worker, if an operator set one.
SELECT reason, since FROM operator_pauses WHERE worker_id = ''
