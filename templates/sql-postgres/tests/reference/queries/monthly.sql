SELECT to_char(taken_on, 'YYYY-MM') AS month, count(*), sum(count(*)) OVER (ORDER BY to_char(taken_on, 'YYYY-MM'))
FROM loans
GROUP BY month
ORDER BY month;
