//! Codes for requests that are malformed, not allowed, or about something that does not exist.

use super::codes;

codes! {
    KEY_MISSING: "key_missing", 401,
        "The request has no API key, or more than one.",
        "Send the header `Authorization: Bearer assize_...` once.";
    KEY_INVALID: "key_invalid", 401,
        "The API key is malformed, unknown, revoked or expired.",
        "Ask your administrator for a new key.";
    ROLE_MISSING: "role_missing", 403,
        "The role of this API key does not allow the request.",
        "Use a key with the role submit or admin.";
    NO_SUCH_ROUTE: "no_such_route", 404,
        "The API has no route at this path.",
        "GET /v1/openapi.json lists every route.";
    NOT_FOUND: "not_found", 404,
        "Your organisation has no run or submission with this id.",
        "Check the id; an id is a UUID in lower case, with hyphens.";
    METHOD_NOT_ALLOWED: "method_not_allowed", 405,
        "The route does not support this method.",
        "Use a method that the header Allow of the answer lists.";
    BAD_PARAMETER: "bad_parameter", 400,
        "A query parameter is unknown, repeated, malformed or out of range.",
        "Correct the parameter that `detail` names; GET /v1/openapi.json describes all of them.";
    MALFORMED_CURSOR: "malformed_cursor", 400,
        "The cursor is not one that this service returned.",
        "Pass `next_cursor` of the previous page unchanged, or leave the cursor out.";
    MALFORMED_IDS: "malformed_ids", 400,
        "The parameter `ids` contains something that is not a run id.",
        "Separate UUIDs by commas; at most 100 are allowed.";
    MALFORMED_EVENT_ID: "malformed_event_id", 400,
        "The header Last-Event-ID or the parameter `after` is not the id of an output event.",
        "Pass the id of the last output event that arrived, or leave it out.";
    NO_VERDICT: "no_verdict", 409,
        "The run has no verdict: it has not ended yet, or it ended with a failure.",
        "Until the run has ended, wait with GET /v1/runs/{id}?wait=60. If it has ended, read `failure` of the run.";
    NOT_SIGNED: "not_signed", 409,
        "The run ended without a signed statement: it was cancelled while it was queued, or signing was off.",
        "Read `status` and `failure` of the run.";
    NOT_MULTIPART: "not_multipart", 415,
        "The body is neither multipart/form-data nor application/json.",
        "Send the fields archive, template, user and optionally metadata as multipart/form-data. For a repository, send \
         repository_url and optionally ref in place of archive, as a form or as application/json.";
    CONTENT_ENCODING: "content_encoding", 415,
        "The body is compressed as a whole (header Content-Encoding).",
        "Leave out Content-Encoding; the archive is compressed already.";
    EXPECTATION: "expectation", 417,
        "The service does not support the value of the header Expect.",
        "Leave the header out, or send `Expect: 100-continue`.";
    MALFORMED_MULTIPART: "malformed_multipart", 400,
        "The body is not a complete multipart/form-data body.",
        "Build the body with an HTTP library, and send it to its end.";
    MALFORMED_JSON: "malformed_json", 400,
        "The body is not the JSON object of a submission.",
        "Send an object with template, user, repository_url and optionally ref and metadata.";
    CHUNKS_TOO_SMALL: "chunks_too_small", 400,
        "The body arrived in too many tiny chunks.",
        "Send chunks of 8 KiB or more, or send Content-Length.";
    MISSING_FIELD: "missing_field", 400,
        "The form lacks a required field.",
        "Add the field that `detail` names.";
    UNKNOWN_FIELD: "unknown_field", 400,
        "The form has a field that the service does not know.",
        "The fields are archive (or repository_url and ref), template, user and metadata.";
    REPEATED_FIELD: "repeated_field", 400,
        "The form has the same field twice.",
        "Send each field once.";
    BAD_FIELD: "bad_field", 400,
        "The value of a field is not allowed.",
        "Correct the field that `detail` names.";
    UNKNOWN_TEMPLATE: "unknown_template", 422,
        "This installation has no template with this name.",
        "GET /v1/templates lists all templates.";
    BAD_IDEMPOTENCY_KEY: "bad_idempotency_key", 400,
        "The header Idempotency-Key is empty, too long, repeated or not visible ASCII.",
        "Send the header once, with 1 to 255 visible ASCII characters.";
    IDEMPOTENCY_KEY_REUSED: "idempotency_key_reused", 422,
        "This Idempotency-Key was used before, for a different submission.",
        "Use a new key for each submission; use the same key only to repeat a submission.";
}
