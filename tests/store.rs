//! The schema and the store, on real Postgres: what the database refuses, what it keeps, and what it costs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

#[path = "store/artifacts.rs"]
mod artifacts;
#[path = "store/caps.rs"]
mod caps;
#[path = "store/checks.rs"]
mod checks;
#[path = "store/claims.rs"]
mod claims;
#[path = "store/commands.rs"]
mod commands;
#[path = "store/crowd.rs"]
mod crowd;
#[path = "store/events.rs"]
mod events;
#[path = "store/fencing.rs"]
mod fencing;
#[path = "store/fetched.rs"]
mod fetched;
#[path = "harness/locks.rs"]
mod locks;
#[path = "store/migrations.rs"]
mod migrations;
#[path = "store/model.rs"]
mod model;
#[path = "store/moves.rs"]
mod moves;
#[path = "store/once.rs"]
mod once;
#[path = "store/operator_pauses.rs"]
mod operator_pauses;
#[path = "store/paging.rs"]
mod paging;
#[path = "harness/pgbouncer.rs"]
mod pgbouncer;
#[path = "store/plan.rs"]
mod plan;
#[path = "store/pooler.rs"]
mod pooler;
#[path = "store/preview.rs"]
mod preview;
#[path = "store/probes.rs"]
mod probes;
#[path = "harness/processes.rs"]
mod processes;
#[path = "store/queue_groups.rs"]
mod queue_groups;
#[path = "store/retention.rs"]
mod retention;
#[path = "store/rights.rs"]
mod rights;
#[path = "store/rows.rs"]
mod rows;
#[path = "store/samples.rs"]
mod samples;
#[path = "store/takeover.rs"]
mod takeover;
#[path = "store/turns.rs"]
mod turns;
