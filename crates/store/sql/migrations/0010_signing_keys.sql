-- A key's id is the hash of the key, so the primary key says all. A second unique index is not what two processes that
-- make the same key known at once agree on: the later one was refused instead of told that the key is there.
ALTER TABLE signing_keys DROP CONSTRAINT signing_keys_public_key_key;
