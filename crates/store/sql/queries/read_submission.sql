SELECT id, coalesce(user_name, user_ref) AS "user!", template, archive_sha256, archive_bytes, archive_entries, archive_contents,
    repository_url, repository_ref, repository_commit, metadata, submitted_at, receipt AS "receipt: Json<Envelope>"
FROM project_submissions
WHERE id = $1 AND organization_id = $2
