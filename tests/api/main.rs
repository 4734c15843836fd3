//! The API as its clients meet it: over HTTP, on a real Postgres (`DATABASE_URL`) and a real Redis
//! (`REDIS_URL`).

#![expect(clippy::unwrap_used, reason = "a test whose ground gives way has failed")]

#[path = "../harness/mod.rs"]
mod harness;

mod cancel;
mod description;
mod disk;
mod hostile;
mod idempotency;
mod keys;
mod outage;
mod output;
mod queue;
mod quotas;
mod repository;
mod retention;
mod runs;
mod submit;
mod verdict;
mod wait;
