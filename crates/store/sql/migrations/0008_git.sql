-- Submissions by the address of a Git repository: their archive comes later, once for each submission.

ALTER TABLE project_submissions
    ALTER COLUMN archive_sha256 DROP NOT NULL,
    ALTER COLUMN archive_bytes DROP NOT NULL,
    ALTER COLUMN archive_entries DROP NOT NULL,
    -- As it was handed in; src/intake/repository.rs says what may stand here.
    ADD COLUMN repository_url text CHECK (repository_url ~ '^https?://' AND length(repository_url) <= 1024),
    ADD COLUMN repository_ref text CHECK (octet_length(repository_ref) BETWEEN 1 AND 255),
    -- What the ref named when it was fetched: SHA-1 or SHA-256.
    ADD COLUMN repository_commit text CHECK (repository_commit ~ '^([0-9a-f]{40}|[0-9a-f]{64})$'),
    ADD CONSTRAINT submissions_repository_is_whole CHECK ((repository_url IS NULL) = (repository_ref IS NULL)),
    ADD CONSTRAINT submissions_archive_is_whole CHECK (
        num_nulls(archive_sha256, archive_bytes, archive_entries) IN (0, 3)),
    -- An archive came with the request, or with its commit from the repository.
    ADD CONSTRAINT submissions_archive_has_one_source CHECK (
        (archive_sha256 IS NOT NULL) = (repository_url IS NULL OR repository_commit IS NOT NULL)
        AND (repository_commit IS NULL OR repository_url IS NOT NULL));

-- While a repository is fetched the run is preparing, in this phase.
ALTER TABLE project_evaluation_runs
    DROP CONSTRAINT project_evaluation_runs_phase_check,
    ADD CONSTRAINT project_evaluation_runs_phase_check CHECK (phase IN ('fetch', 'install', 'build', 'start', 'tests'));

-- No archive that a submission has is without its row, whenever it came.
DROP TRIGGER submissions_use_archive ON project_submissions;
CREATE TRIGGER submissions_use_archive AFTER INSERT OR UPDATE OF archive_sha256 ON project_submissions
    FOR EACH ROW WHEN (NEW.archive_sha256 IS NOT NULL) EXECUTE FUNCTION use_archive();
