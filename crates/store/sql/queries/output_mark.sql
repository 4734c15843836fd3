-- The last run whose output has been deleted.
SELECT finished_at, run_id FROM retention WHERE what = 'output'
