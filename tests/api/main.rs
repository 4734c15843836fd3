//! Tests of the API over HTTP, on a real Postgres (`DATABASE_URL`) and a real Redis
//! (`REDIS_URL`).

#![expect(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

#[path = "../harness/mod.rs"]
mod harness;

mod artifacts;
mod cancel;
mod connections;
mod contract;
mod crowding;
mod description;
mod disk;
mod heads;
mod hostile;
mod idempotency;
mod keys;
mod loud;
mod outage;
mod output;
mod pauses;
mod queue;
mod quotas;
mod rates;
mod repository;
mod retention;
mod routes;
mod runs;
mod signing;
mod submit;
mod users;
mod verdict;
mod wait;
