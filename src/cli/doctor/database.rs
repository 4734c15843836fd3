//! Checks what stands between this host and Postgres, and the limits of the roles.

use super::Report;
use assize_config::Config;
use assize_store::StoreError;
use assize_store::pooler::{self, Route, Session};

/// The advice for an address that leads through a pooler where a session of its own is needed.
const SET_DIRECT: &str = "set database_direct_url to Postgres itself, past the pooler";

/// Runs these checks. Returns what was seen, if Postgres answers.
pub(super) async fn examine(config: &Config, report: &mut Report) -> Option<Session> {
    let session = match pooler::examine_address(&config.database_url).await {
        Ok(session) => session,
        // Another check has reported that already.
        Err(StoreError::Unavailable { .. } | StoreError::Address(_)) => return None,
        Err(error) => {
            report.fault("pooler", &error);
            return None;
        }
    };
    let timeout = &session.statement_timeout;
    match (session.route, session.has_statement_timeout()) {
        (Route::Own, _) => report.ok("pooler", "each connection has a server process of its own"),
        (Route::Shared, _) => report.ok("pooler", "a pooler shares connections, and keeps prepared statements apart"),
    }
    match (session.route, session.has_statement_timeout()) {
        (_, true) => report.ok("timeouts", format!("the role limits a statement to {timeout}")),
        (Route::Own, false) => report.ok("timeouts", "the role has no limit; each connection sets 5 s itself"),
        (Route::Shared, false) => report.warn(
            "timeouts",
            "the role has no statement_timeout, and a connection through this pooler cannot set one",
            pooler::SET_ROLE_TIMEOUT,
        ),
    }
    owner(config, session.route, report).await;
    Some(session)
}

/// Checks the address for migrations, keys and backups: they hold locks and snapshots of a session.
async fn owner(config: &Config, route: Route, report: &mut Report) {
    if config.database_direct_url.is_empty() {
        if route == Route::Shared {
            report.warn("direct", "`assize migrate` and `assize backup` would go through the pooler", SET_DIRECT);
        }
        return;
    }
    match pooler::examine_address(&config.database_direct_url).await {
        Ok(Session { route: Route::Own, .. }) => report.ok("direct", "database_direct_url leads to Postgres itself"),
        Ok(Session { route: Route::Shared, .. }) => {
            report.fail("direct", "database_direct_url leads through a pooler that shares connections", SET_DIRECT);
        }
        Err(error) => report.fault("direct", &error),
    }
}
