//! The whole pipeline through real processes: `assize api`, `assize worker`, Postgres
//! (`DATABASE_URL`), Redis (`REDIS_URL`), the Docker engine and the static warden.
//!
//! Each [`site::Site`] is an installation with a database, an instance name, folders and ports of
//! its own; most tests share one, those that break something start their own.

#![expect(clippy::unwrap_used, reason = "a test whose ground gives way has failed")]

#[path = "../harness/mod.rs"]
mod harness;

mod adoption;
mod artifacts;
mod authority;
mod away;
mod backup;
mod calls;
mod cancel;
mod database;
mod egress;
mod forge;
mod handover;
mod images;
mod isolation;
mod janitor;
mod limits;
mod live;
mod namespaces;
mod neighbours;
mod node_web;
mod operators;
mod outage;
mod parameters;
mod progress;
mod reload;
mod repository;
mod repository_tls;
mod results;
mod secrets;
mod service_manager;
mod services;
mod signed;
mod site;
mod size;
mod slots;
mod stages;
mod start;
mod stop;
mod stopped;
mod strangers;
mod strict;
mod templates;
mod unscanned;
mod walls;
