-- A worker that stops takes its row with it.
DELETE FROM workers WHERE id = $1
