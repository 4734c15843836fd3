DELETE FROM artifact_blobs WHERE sha256 = $1
