//! What a statement really did: its plan and those of every statement that its functions and
//! triggers ran, as Postgres' own `auto_explain` reports them.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, PgPool};
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Every table that grows with use.
const LARGE: [&str; 9] = [
    "api_keys",
    "archives",
    "artifact_blobs",
    "idempotency_keys",
    "organizations",
    "project_evaluation_runs",
    "project_submissions",
    "run_artifacts",
    "run_events",
];

/// One statement: its text, and what it touched.
#[derive(Debug)]
pub struct Plan {
    pub statement: String,
    /// Large tables that it reads from end to end.
    pub scanned: Vec<String>,
    /// Rows that it fetched from tables and indexes, whether it kept them or not.
    pub rows: u64,
    /// Shared buffers (pages of 8 KiB) that it looked at, with the statements inside it.
    pub buffers: u64,
}

/// How parameters reach the planner; Postgres may choose either after five executions.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    Custom,
    Generic,
}

/// A connection that tells the plan of everything that it executes.
pub struct Explainer {
    connection: PgConnection,
    notices: Notices,
    /// Notices reach this thread's subscriber, and so do the tests: their runtime has one thread.
    _listening: DefaultGuard,
}

impl Explainer {
    pub async fn open(pool: &PgPool) -> Self {
        let notices = Notices::default();
        let listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(notices.clone()));
        let mut connection = pool.connect_options().connect().await.unwrap();
        let settings = "LOAD 'auto_explain';
            SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
            SET auto_explain.log_analyze = on; SET auto_explain.log_buffers = on; SET auto_explain.log_timing = off;
            SET auto_explain.log_format = json; SET auto_explain.log_level = notice";
        let loaded = sqlx::raw_sql(settings).execute(&mut connection).await;
        loaded.expect("a superuser on a server with its contrib modules");
        Self { connection, notices, _listening: listening }
    }

    /// Executes a prepared statement with these arguments.
    async fn execute(&mut self, mode: Mode, query: &str, arguments: &str, end: &str) -> Vec<Plan> {
        let mode = match mode {
            Mode::Custom => "force_custom_plan",
            Mode::Generic => "force_generic_plan",
        };
        let call = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
        let before = format!("BEGIN; SET LOCAL plan_cache_mode = {mode}; PREPARE asked AS {query}");
        sqlx::raw_sql(AssertSqlSafe(before)).execute(&mut self.connection).await.unwrap();
        self.notices.0.lock().unwrap().clear();
        let asked = format!("EXECUTE asked{call}");
        let done = sqlx::raw_sql(AssertSqlSafe(asked)).execute(&mut self.connection).await;
        done.unwrap_or_else(|error| panic!("{query}\n({arguments}): {error}"));
        let told = std::mem::take(&mut *self.notices.0.lock().unwrap());
        let after = format!("{end}; DEALLOCATE asked");
        sqlx::raw_sql(AssertSqlSafe(after)).execute(&mut self.connection).await.unwrap();
        let plans: Vec<_> = told.iter().filter_map(|notice| read(notice)).collect();
        assert!(!plans.is_empty(), "no plan was told of {query}");
        plans
    }

    /// Executes, tells the plans and rolls back.
    pub async fn try_out(&mut self, mode: Mode, query: &str, arguments: &str) -> Vec<Plan> {
        self.execute(mode, query, arguments, "ROLLBACK").await
    }

    /// Executes, tells the plans and commits.
    pub async fn carry_out(&mut self, mode: Mode, query: &str, arguments: &str) -> Vec<Plan> {
        self.execute(mode, query, arguments, "COMMIT").await
    }
}

fn read(notice: &str) -> Option<Plan> {
    let (_, json) = notice.split_once("plan:\n")?;
    let told: Value = serde_json::from_str(json).unwrap();
    let top = &told["Plan"];
    let pages = |name: &str| top[name].as_u64().unwrap_or(0);
    let mut plan = Plan {
        statement: told["Query Text"].as_str().unwrap_or_default().to_owned(),
        scanned: Vec::new(),
        rows: 0,
        buffers: pages("Shared Hit Blocks") + pages("Shared Read Blocks"),
    };
    plan.add(top);
    Some(plan)
}

impl Plan {
    fn add(&mut self, node: &Value) {
        let relation = node["Relation Name"].as_str();
        if let Some(relation) = relation
            && node["Node Type"] == "Seq Scan"
            && LARGE.contains(&relation)
        {
            self.scanned.push(relation.to_owned());
        }
        if relation.is_some() || node["Index Name"].is_string() {
            let count = |name: &str| node[name].as_u64().unwrap_or(0);
            let once = count("Actual Rows") + count("Rows Removed by Filter") + count("Rows Removed by Index Recheck");
            self.rows += once * count("Actual Loops");
        }
        for inner in node["Plans"].as_array().into_iter().flatten() {
            self.add(inner);
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Notices(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            event.record(&mut Message(self));
        }
    }
}

struct Message<'a>(&'a Notices);

impl Visit for Message<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.0.lock().unwrap().push(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
