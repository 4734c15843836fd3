-- Runs that wait: of a user ($2) of an organisation ($1), of all its users, or of all; counted to $3.
SELECT count_queued($1::uuid, $2::text, $3) AS "queued!"
