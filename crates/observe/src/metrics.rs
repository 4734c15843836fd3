//! The numbers of one process, in the Prometheus text format.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use assize_domain::queue::StatusCount;
use assize_domain::run::{FailureCode, Status};
use assize_host::clock;

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    query: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    template: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    code: &'static str,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DependencyLabels {
    dependency: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnenforcedLabels {
    limit: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HoldLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

/// Every metric that assize has; each process fills those that it knows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub runs_queued: Counter,
    pub queue_wait: Histogram,
    pub runs_adopted: Counter,
    pub leases_lost: Counter,
    pub oom_kills: Counter,
    pub egress_connections: Counter,
    pub egress_bytes: Counter,
    pub stale_runs: Gauge,
    /// Seconds since 1970 of the last heartbeat that reached Postgres.
    pub heartbeat_last_success: Gauge,
    /// Seconds since 1970 of the last look for stale leases.
    pub watchdog_last_success: Gauge,
    pub queue_depth: Gauge,
    pub active_half_slots: Gauge,
    active_runs: Family<StatusLabels, Gauge>,
    run_duration: Family<RunLabels, Histogram>,
    failures: Family<FailureLabels, Counter>,
    query_duration: Family<QueryLabels, Histogram>,
    dependency_up: Family<DependencyLabels, Gauge>,
    dependencies: Mutex<HashMap<&'static str, bool>>,
    request_duration: Family<RequestLabels, Histogram>,
    janitor_removed: Family<JobLabels, Counter>,
    janitor_last_success: Family<JobLabels, Gauge>,
    admission_held: Family<HoldLabels, Gauge>,
    worker_probes: Family<ProbeLabels, Counter>,
    pub connections: Gauge,
    pub held_requests: Gauge,
    pub rate_limits_local: Gauge,
    refusals: Family<LimitLabels, Counter>,
    limit_unenforced: Family<UnenforcedLabels, Gauge>,
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("assize");
        let metrics = Self {
            runs_queued: Counter::default(),
            queue_wait: Histogram::new(exponential_buckets(0.005, 2.0, 18)),
            runs_adopted: Counter::default(),
            leases_lost: Counter::default(),
            oom_kills: Counter::default(),
            egress_connections: Counter::default(),
            egress_bytes: Counter::default(),
            stale_runs: Gauge::default(),
            heartbeat_last_success: Gauge::default(),
            watchdog_last_success: Gauge::default(),
            queue_depth: Gauge::default(),
            active_half_slots: Gauge::default(),
            active_runs: Family::default(),
            run_duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.125, 2.0, 14))),
            failures: Family::default(),
            query_duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 2.0, 16))),
            dependency_up: Family::default(),
            dependencies: Mutex::default(),
            request_duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_5, 2.0, 16))),
            janitor_removed: Family::default(),
            janitor_last_success: Family::default(),
            admission_held: Family::default(),
            worker_probes: Family::default(),
            connections: Gauge::default(),
            held_requests: Gauge::default(),
            rate_limits_local: Gauge::default(),
            refusals: Family::default(),
            limit_unenforced: Family::default(),
            registry: Registry::default(),
        };
        let counters = [
            ("runs_queued", "Runs taken in by this process", &metrics.runs_queued),
            ("runs_adopted", "Runs that this worker went on with after another was gone", &metrics.runs_adopted),
            ("leases_lost", "Leases that this worker lost", &metrics.leases_lost),
            ("oom_kills", "Processes in cells that the kernel killed for memory", &metrics.oom_kills),
            ("egress_connections", "Connections that stages asked for", &metrics.egress_connections),
            ("egress_bytes", "Bytes that stages exchanged over them", &metrics.egress_bytes),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("queue_depth", "Queued runs, counted to 100000", &metrics.queue_depth),
            ("active_half_slots", "Half-slots in use over all workers", &metrics.active_half_slots),
            ("connections", "Connections of the API", &metrics.connections),
            ("held_requests", "Requests that are held open: live output, and waits", &metrics.held_requests),
            (
                "rate_limits_local",
                "Whether this process counts requests for itself, because Redis does not answer",
                &metrics.rate_limits_local,
            ),
            ("stale_runs", "Active runs whose lease was not renewed for 30 s", &metrics.stale_runs),
            (
                "heartbeat_last_success_timestamp_seconds",
                "Time of the last renewal of leases that reached Postgres",
                &metrics.heartbeat_last_success,
            ),
            (
                "watchdog_last_success_timestamp_seconds",
                "Time of the last look for stale leases",
                &metrics.watchdog_last_success,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register("active_runs", "Runs with a lease, by state", metrics.active_runs.clone());
        registry.register("queue_wait_seconds", "From submission to claim", metrics.queue_wait.clone());
        registry.register("run_duration_seconds", "From claim to end", metrics.run_duration.clone());
        registry.register("failures", "Attempts that ended without a verdict", metrics.failures.clone());
        registry.register("database_query_duration_seconds", "Queries, by name", metrics.query_duration.clone());
        registry.register(
            "dependency_up",
            "Whether Postgres, Redis and the Docker engine answer",
            metrics.dependency_up.clone(),
        );
        registry.register("http_request_duration_seconds", "Requests, by route", metrics.request_duration.clone());
        registry.register("refusals", "Clients that were refused, by the limit", metrics.refusals.clone());
        registry.register("janitor_removed", "What the janitor removed", metrics.janitor_removed.clone());
        registry.register(
            "janitor_last_success_timestamp_seconds",
            "Time of the last success of a job of the janitor; 0: none yet",
            metrics.janitor_last_success.clone(),
        );
        registry.register(
            "admission_held",
            "Whether this worker claims nothing although it has free slots, by reason",
            metrics.admission_held.clone(),
        );
        registry.register(
            "worker_probes",
            "Containers that this worker made for no run, to see whether it can, by outcome",
            metrics.worker_probes.clone(),
        );
        registry.register(
            "limit_unenforced",
            "Limits of cells that do not hold here and are allowed not to",
            metrics.limit_unenforced.clone(),
        );
        Self { registry, ..metrics }
    }

    /// All metrics as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).ok();
        text
    }

    /// One query was answered, or not, after `taken`.
    pub fn observe_query(&self, query: &'static str, taken: Duration) {
        self.query_duration.get_or_create(&QueryLabels { query }).observe(taken.as_secs_f64());
    }

    /// One request was answered with `code` after `taken`; `route` is the pattern, never the path.
    pub fn observe_request(&self, route: &str, code: u16, taken: Duration) {
        let labels = RequestLabels { route: route.to_owned(), code };
        self.request_duration.get_or_create(&labels).observe(taken.as_secs_f64());
    }

    pub(super) fn run_ended(&self, template: &str, status: Status, taken: Duration) {
        let labels = RunLabels { template: template.to_owned(), status: status.as_str() };
        self.run_duration.get_or_create(&labels).observe(taken.as_secs_f64());
    }

    pub(super) fn run_failed(&self, code: FailureCode) {
        let labels = FailureLabels { code: code.as_str(), cause: code.cause().as_str() };
        self.failures.get_or_create(&labels).inc();
    }

    /// A job of the janitor will run; until it has, its last success is 0.
    pub fn job_waits(&self, what: &'static str) {
        self.janitor_removed.get_or_create(&JobLabels { what }).inc_by(0);
        self.janitor_last_success.get_or_create(&JobLabels { what }).set(0);
    }

    /// A job of the janitor did its work, and removed so much.
    pub fn job_succeeded(&self, what: &'static str, removed: u64) {
        self.janitor_removed.get_or_create(&JobLabels { what }).inc_by(removed);
        self.janitor_last_success.get_or_create(&JobLabels { what }).set(clock::wall().timestamp());
    }

    /// A limit of cells does not hold here.
    pub fn limit_unenforced(&self, limit: &str) {
        self.limit_unenforced.get_or_create(&UnenforcedLabels { limit: limit.to_owned() }).set(1);
    }

    pub(super) fn admission_held(&self, reason: &'static str, held: bool) {
        self.admission_held.get_or_create(&HoldLabels { reason }).set(i64::from(held));
    }

    pub(super) fn worker_probes(&self, went_well: bool) {
        let outcome = if went_well { "ok" } else { "failed" };
        self.worker_probes.get_or_create(&ProbeLabels { outcome }).inc();
    }

    pub(super) fn refused(&self, limit: &'static str) {
        self.refusals.get_or_create(&LimitLabels { limit }).inc();
    }

    /// Takes in the counts of the queue.
    pub fn observe_queue(&self, counts: &[StatusCount]) {
        for status in Status::ALL.iter().filter(|status| status.is_active()) {
            let runs = counts.iter().find(|count| count.status == *status).map_or(0, |count| count.runs);
            self.active_runs.get_or_create(&StatusLabels { status: status.as_str() }).set(runs);
        }
        let queued = counts.iter().find(|count| count.status == Status::Queued);
        self.queue_depth.set(queued.map_or(0, |count| count.runs));
        self.active_half_slots
            .set(counts.iter().filter(|count| count.status.is_active()).map(|count| count.half_slots).sum());
    }

    /// Notes whether a dependency answers; true if that is news.
    pub(super) fn dependency(&self, name: &'static str, up: bool) -> bool {
        self.dependency_up.get_or_create(&DependencyLabels { dependency: name }).set(i64::from(up));
        let Ok(mut known) = self.dependencies.lock() else { return true };
        known.insert(name, up) != Some(up)
    }

    /// Whether every dependency seen so far answers.
    #[must_use]
    pub fn dependency_is_up(&self, name: &str) -> Option<bool> {
        self.dependencies.lock().ok().and_then(|known| known.get(name).copied())
    }
}
