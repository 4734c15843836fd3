WITH months AS (
    SELECT to_char(taken_on, 'YYYY-MM') AS month, count(*) AS loans FROM loans GROUP BY 1
)
SELECT month, loans, sum(loans) OVER (ORDER BY month) AS total
FROM months
ORDER BY month;
