-- Statements that are signed, and the public keys to check them with. Private keys are never here.

-- Kept for good, for what was signed once is to be verifiable for good.
CREATE TABLE signing_keys (
    -- SHA-256 of the public key in DER.
    id text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{64}$'),
    -- Ed25519.
    public_key bytea NOT NULL UNIQUE CHECK (length(public_key) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What it signs after that does not count.
    retired_at timestamptz
);

-- DSSE envelopes, each written by the statement that makes it true and never again.
ALTER TABLE project_submissions
    ADD COLUMN receipt jsonb CHECK (jsonb_typeof(receipt) = 'object');

ALTER TABLE project_evaluation_runs
    ADD COLUMN envelope jsonb CHECK (jsonb_typeof(envelope) = 'object'),
    ADD CONSTRAINT runs_only_the_end_is_signed CHECK (envelope IS NULL OR finished_at IS NOT NULL);
