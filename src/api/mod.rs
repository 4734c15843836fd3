//! The HTTP API for platforms, graders and health checks. It knows nothing about containers.
//!
//! `serve` accepts a connection. Each request on it then passes, in this order:
//!
//! 1. `request_log`: the request id, the log line and the metric;
//! 2. `request_body`: the limits of the body;
//! 3. `request_limits`: the rate limit of the address, the limits of the head, and the time limit;
//! 4. the extractors of its handler (`auth`, `extract`);
//! 5. its handler: `submissions`, `runs`, `output`, `verdict`, `artifacts`, `templates`, `signing_keys` or `health`.
//!
//! Every error becomes an HTTP status in `problem`, and only there. The handlers describe themselves; `router`
//! generates `GET /v1/openapi.json` from these descriptions, and `docs/openapi.json` is its copy in the tree.

mod artifacts;
mod auth;
mod bounded_socket;
mod client_address;
mod connection_table;
mod cursor;
mod disk_space;
mod etag;
mod extract;
mod form;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod idempotency;
mod live;
mod open_requests;
mod output;
mod problem;
mod queue_quota;
mod rate_limit;
mod request_body;
mod request_limits;
mod request_log;
mod router;
mod run_watch;
mod runs;
mod serve;
mod signing_keys;
mod state;
mod stored_output;
mod submissions;
mod templates;
mod verdict;
mod views;

pub use problem::ProblemCode;
pub use router::openapi_document;
pub use serve::{serve, serve_within};
pub use state::{ApiState, Timeouts};
