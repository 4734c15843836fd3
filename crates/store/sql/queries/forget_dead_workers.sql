-- Rows of workers that were not heard of for an hour.
DELETE FROM workers WHERE seen_at < clock_timestamp() - interval '1 hour'
