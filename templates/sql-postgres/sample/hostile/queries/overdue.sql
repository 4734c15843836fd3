-- The rest of a transaction that the driver does not know about.
COMMIT;
DROP TABLE loans, books, members CASCADE;
CREATE VIEW loans AS SELECT 1 AS id;
SELECT attempt, outcome, 0 FROM loot;
