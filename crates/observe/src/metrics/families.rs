//! Every metric that assize has: name, type, help text and buckets. Each process fills those that it measures.

use ::metrics::{describe_counter, describe_gauge, describe_histogram};

/// A metric with all its series.
#[derive(Debug)]
pub(super) struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
}

/// What a metric measures, as Prometheus distinguishes it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// Seconds. The first bucket ends at `first`, and each of the `buckets` ends at twice the one before.
    Histogram {
        first: f64,
        buckets: i32,
    },
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram { .. } => "histogram",
        }
    }
}

impl Family {
    const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter }
    }

    const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge }
    }

    const fn histogram(name: &'static str, help: &'static str, first: f64, buckets: i32) -> Self {
        Self { name, help, kind: Kind::Histogram { first, buckets } }
    }

    /// The upper bounds of the buckets; none if the metric is not a histogram.
    pub fn buckets(&self) -> Vec<f64> {
        match self.kind {
            Kind::Histogram { first, buckets } => (0..buckets).map(|number| first * 2f64.powi(number)).collect(),
            Kind::Counter | Kind::Gauge => Vec::new(),
        }
    }

    /// Passes the help text to the recorder.
    pub fn describe(&self) {
        match self.kind {
            Kind::Counter => describe_counter!(self.name, self.help),
            Kind::Gauge => describe_gauge!(self.name, self.help),
            Kind::Histogram { .. } => describe_histogram!(self.name, self.help),
        }
    }

    /// The two lines before the series.
    pub fn header(&self) -> String {
        let Self { name, help, kind } = self;
        format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str())
    }
}

/// Defines each family as a constant and lists all of them.
macro_rules! families {
    ($($constant:ident = $family:expr;)+) => {
        $(pub(super) const $constant: Family = $family;)+
        /// Every family.
        pub(super) const ALL: &[Family] = &[$($family),+];
    };
}

families! {
    RUNS_QUEUED = Family::counter("assize_runs_queued_total", "Submissions that this process accepted");
    RUNS_ADOPTED =
        Family::counter("assize_runs_adopted_total", "Runs that this worker took over from another that was gone");
    LEASES_LOST = Family::counter("assize_leases_lost_total", "Leases that this worker lost");
    OOM_KILLS = Family::counter("assize_oom_kills_total", "Processes in cells that the kernel killed for memory");
    EGRESS_CONNECTIONS = Family::counter("assize_egress_connections_total", "Connections that stages requested");
    EGRESS_BYTES = Family::counter("assize_egress_bytes_total", "Bytes that stages exchanged over their connections");
    FAILURES = Family::counter("assize_failures_total", "Attempts that ended without a verdict, by template, code and cause");
    ATTEMPTS = Family::counter(
        "assize_attempts_total",
        "Attempts that ended, by outcome: completed, cancelled, or the cause of the failure"
    );
    REFUSALS = Family::counter("assize_refusals_total", "Clients that were refused, by limit");
    JANITOR_REMOVED = Family::counter("assize_janitor_removed_total", "Objects that the janitor removed, by task");
    WORKER_PROBES = Family::counter(
        "assize_worker_probes_total",
        "Containers that this worker created for no run, to test the engine, by outcome"
    );
    CLAIM_PAUSES = Family::counter(
        "assize_claim_pauses_total",
        "Times that this worker stopped claiming, or got another cause for it, by reason"
    );
    QUEUE_DEPTH = Family::gauge("assize_queue_depth", "Queued runs, counted to 100000");
    ACTIVE_RUNS = Family::gauge("assize_active_runs", "Runs with a lease, by state");
    ACTIVE_HALF_SLOTS = Family::gauge("assize_active_half_slots", "Half-slots in use over all workers");
    STALE_RUNS = Family::gauge("assize_stale_runs", "Active runs whose lease was not renewed for 30 s");
    WORKERS = Family::gauge("assize_workers", "Workers that reported within the last 30 s");
    WORKER_HALF_SLOTS = Family::gauge("assize_worker_half_slots", "Half-slots of this worker, free or not");
    SIGNING_KEY_CREATED = Family::gauge(
        "assize_signing_key_created_timestamp_seconds",
        "Time at which the signing key of this process was registered"
    );
    BUILD_INFO = Family::gauge(
        "assize_build_info",
        "Always 1; the labels are the version, the commit and the newest migration of this program"
    );
    PROCESS_START =
        Family::gauge("assize_process_start_timestamp_seconds", "Time at which this process started");
    CONNECTIONS = Family::gauge("assize_connections", "Open connections of the API");
    OPEN_REQUESTS = Family::gauge("assize_open_requests", "Requests that are open because they follow live output or wait");
    RATE_LIMITS_LOCAL = Family::gauge(
        "assize_rate_limits_local",
        "Whether this process counts requests by itself because Redis does not answer"
    );
    HEARTBEAT_LAST_SUCCESS = Family::gauge(
        "assize_heartbeat_last_success_timestamp_seconds",
        "Time of the last heartbeat of this worker that reached Postgres: its leases, or its own entry if it has none"
    );
    WATCHDOG_LAST_SUCCESS = Family::gauge(
        "assize_watchdog_last_success_timestamp_seconds",
        "Time of the last search for stale leases"
    );
    JANITOR_LAST_SUCCESS = Family::gauge(
        "assize_janitor_last_success_timestamp_seconds",
        "Time of the last success of the janitor, by task; 0 before the first"
    );
    CLAIMS_PAUSED = Family::gauge(
        "assize_claims_paused",
        "Whether this worker claims no runs although it has free slots, by reason"
    );
    DEPENDENCY_UP =
        Family::gauge("assize_dependency_up", "Whether Postgres, Redis, the blob store and the engine answer");
    LIMIT_UNENFORCED = Family::gauge(
        "assize_limit_unenforced",
        "Limits of cells that this host does not enforce and that are allowed to be unenforced"
    );
    PRESSURE_LIMIT_BLIND = Family::gauge(
        "assize_pressure_limit_blind",
        "Whether the limit of this setting pauses no claim because this worker cannot read its value"
    );
    TEMPLATES_REFUSED = Family::gauge(
        "assize_templates_refused",
        "Templates whose latest version this process refused when it loaded them anew"
    );
    QUEUE_WAIT = Family::histogram("assize_queue_wait_seconds", "Time from submission to claim", 0.01, 19);
    RUN_DURATION = Family::histogram("assize_run_duration_seconds", "Time from claim to end", 0.25, 14);
    QUERY_DURATION =
        Family::histogram("assize_database_query_duration_seconds", "Time of queries, by name", 0.000_25, 16);
    REQUEST_DURATION =
        Family::histogram("assize_http_request_duration_seconds", "Time of requests, by route", 0.000_5, 18);
}

/// The limits by which clients are refused: label values of [`REFUSALS`].
pub(super) const LIMITS: &[&str] =
    &["address", "connections", "connections_per_address", "half_heads", "key", "open_requests_per_key", "wrong_keys"];
