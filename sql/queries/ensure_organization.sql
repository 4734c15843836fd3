-- The id of the organisation with this name, made if there was none.
WITH made AS (
    INSERT INTO organizations (id, name) VALUES ($1, $2)
    ON CONFLICT (name) DO NOTHING
    RETURNING id
)
SELECT id AS "id!" FROM made
UNION ALL
SELECT id FROM organizations WHERE name = $2
LIMIT 1
