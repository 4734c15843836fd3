//! Codes for failures of the service or of what it depends on. The client is not at fault.

use super::codes;

codes! {
    DISK_FULL: "disk_full", 507,
        "The disk for archives or for uploads in progress is too full; nothing was stored.",
        "Send the request again after the time in Retry-After; your administrator can free disk space.";
    DATABASE_UNAVAILABLE: "database_unavailable", 503,
        "The database does not answer, or is being upgraded.",
        "Send the request again after the time in Retry-After; with an Idempotency-Key a submission is stored once.";
    STORAGE_UNAVAILABLE: "storage_unavailable", 503,
        "The storage for archives and outputs does not answer.",
        "Send the request again after the time in Retry-After; with an Idempotency-Key a submission is stored once.";
    SPOOL_UNAVAILABLE: "spool_unavailable", 503,
        "The upload could not be written to disk or read back.",
        "Send the request again after the time in Retry-After; with an Idempotency-Key a submission is stored once.";
    REQUEST_TOO_SLOW: "request_too_slow", 503,
        "The service did not answer the request in time.",
        "Send the request again after the time in Retry-After; with an Idempotency-Key a submission is stored once.";
    SERVICE_UNAVAILABLE: "service_unavailable", 503,
        "The service does not run, or its connection broke before it answered; the proxy in front of it sent this answer.",
        "Send the request again after the time in Retry-After; with an Idempotency-Key a submission is stored once.";
    INTERNAL: "internal", 500,
        "The service has an internal error.",
        "Report the header x-request-id of the answer to your administrator.";
}
