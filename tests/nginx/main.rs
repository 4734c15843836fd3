//! Tests of the API through a real nginx with the files of `nginx/`, on a real Postgres (`DATABASE_URL`) and a real Redis
//! (`REDIS_URL`).

#![expect(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

#[path = "../harness/mod.rs"]
mod harness;

mod addresses;
mod front;
mod kept_alive;
mod live;
mod own_answers;
mod refusals;
mod restarts;
mod unread;
mod uploads;
mod values;
