SELECT to_char(taken_on, 'YYYY-MM') AS month, count(*), (SELECT count(*) FROM loans)
FROM loans
GROUP BY month
ORDER BY month;
