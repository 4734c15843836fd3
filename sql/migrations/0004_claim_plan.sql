-- Statistics that were taken while nothing was queued make the planner believe that nothing is: it
-- would read and sort the whole queue for each run that it claims. Where sorting costs most, only
-- runs_queue gives the heads in order. Compiling such a "costly" plan would take longer than running it.
ALTER FUNCTION claim_runs(text, integer, integer, integer)
    SET enable_sort = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET jit = off;
