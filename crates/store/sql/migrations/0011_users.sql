-- Whom a run counts for, and the name that was sent.
--
-- `user_ref` is what caps, quotas and turns count by: the name in one case and one form, without characters that
-- are not seen (src/unicode/fold.rs), so that names that look alike are one user. `user_name` is the name as it was
-- sent, which is shown and signed; NULL where the two are the same. What had ended before is counted by nothing any
-- more and stays as it is.

ALTER TABLE project_submissions ADD COLUMN user_name text CHECK (length(user_name) BETWEEN 1 AND 200);
ALTER TABLE project_evaluation_runs ADD COLUMN user_name text CHECK (length(user_name) BETWEEN 1 AND 200);

-- What waits or runs now, as nearly as Postgres has the same rules; from here on the service folds the names.
-- A database of another encoding than UTF-8 cannot normalize, and hardly has such names.
DO $$
BEGIN
    IF getdatabaseencoding() = 'UTF8' THEN
        UPDATE project_evaluation_runs AS run
            SET user_name = run.user_ref, user_ref = folded.name
            FROM (SELECT id, btrim(regexp_replace(lower(normalize(
                    regexp_replace(
                        regexp_replace(normalize(user_ref, NFKC), '[\u2028\u2029\u0085]', ' ', 'g'),
                        '[\u0001-\u001f\u007f-\u009f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2'
                        || '\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800'
                        || '\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd'
                        || '\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff'
                        || '\U000f0000-\U0010fffd]', '', 'g'),
                    NFKC)), '[ \u1680]+', ' ', 'g')) AS name
                FROM project_evaluation_runs
                WHERE finished_at IS NULL) AS folded
            WHERE run.id = folded.id AND folded.name <> run.user_ref AND length(folded.name) BETWEEN 1 AND 200;
    END IF;
END $$;
