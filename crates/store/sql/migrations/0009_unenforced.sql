-- Limits of a worker's cells that do not hold on its host and that its operator allowed not to, by name.
ALTER TABLE workers ADD COLUMN unenforced text[] NOT NULL DEFAULT '{}';
