-- Which folder of an archive became the top of the project, and what of it is not unpacked as it is. Null for what was
-- submitted before, and until a repository is fetched.
ALTER TABLE project_submissions ADD COLUMN archive_contents jsonb;
