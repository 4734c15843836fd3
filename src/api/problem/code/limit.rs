//! Codes for requests that are too large, too slow or too many.

use super::codes;

codes! {
    BODY_TOO_LONG: "body_too_long", 413,
        "The body is longer than this route allows.",
        "Send a shorter body; `limit` and `seen` are in bytes.";
    ARCHIVE_TOO_LARGE: "archive_too_large", 413,
        "The archive is larger than the installation (max_archive_bytes) or the template (archive.max_bytes) allows.",
        "Leave out what can be installed or built again, such as node_modules.";
    FIELD_TOO_LONG: "field_too_long", 400,
        "The value of a field is longer than allowed.",
        "Shorten the field that `detail` names; `limit` and `seen` are in bytes.";
    URI_TOO_LONG: "uri_too_long", 414,
        "The path and the query of the request are longer than allowed.",
        "Send a shorter query; `limit` and `seen` are in bytes.";
    BODY_STALLED: "body_stalled", 408,
        "No byte of the body arrived for too long.",
        "Send the request again over a connection that does not stall.";
    BODY_TOO_SLOW: "body_too_slow", 408,
        "The body did not arrive completely in time.",
        "Send the request again over a faster connection, or send a smaller archive.";
    TOO_MANY_REQUESTS: "too_many_requests", 429,
        "This API key or this client address exceeded its rate limit.",
        "Send the request again after the time in Retry-After.";
    TOO_MANY_WRONG_KEYS: "too_many_wrong_keys", 429,
        "Too many wrong API keys came from this client address.",
        "Correct the key, and send the request again after the time in Retry-After.";
    TOO_MANY_OPEN_REQUESTS: "too_many_open_requests", 429,
        "This API key has too many open requests: live outputs and waits.",
        "Close some of your live outputs and waits first, or read without waiting.";
    USER_QUEUE_FULL: "user_queue_full", 429,
        "Too many runs of this user are queued (per_user_max_queued).",
        "Submit again after the time in Retry-After, when fewer runs of this user are queued.";
    ORG_QUEUE_FULL: "org_queue_full", 429,
        "Too many runs of your organisation are queued (per_org_max_queued).",
        "Submit again after the time in Retry-After, when fewer runs of your organisation are queued.";
    QUEUE_FULL: "queue_full", 429,
        "Too many runs of all organisations are queued (max_queued).",
        "Submit again after the time in Retry-After.";
    TOO_MANY_CONNECTIONS: "too_many_connections", 503,
        "The service, or your client address, has too many open connections.",
        "Close some connections, and send the request again after the time in Retry-After.";
}
