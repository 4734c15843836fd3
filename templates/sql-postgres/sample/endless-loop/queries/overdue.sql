SET statement_timeout = 0;
WITH RECURSIVE numbers AS (SELECT 1 AS n UNION ALL SELECT 1 FROM numbers)
SELECT count(*) FROM numbers;
