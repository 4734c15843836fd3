-- No claim of this worker, or of any if it is empty, succeeds after this.
SELECT pause_claims($1, $2)
