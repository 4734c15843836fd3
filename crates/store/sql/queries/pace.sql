-- How long the last runs took, and what they weighed.
SELECT run_seconds, run_half_slots FROM pace()
