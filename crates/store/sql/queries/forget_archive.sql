DELETE FROM archives WHERE sha256 = $1
