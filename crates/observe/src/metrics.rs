//! The metrics of one process, in the Prometheus text format.
//!
//! This module is the only one that knows the crate `metrics` and its exporter. It installs the recorder once, names
//! every metric ([`families`]), and creates the series whose labels are known with the value 0, so that the first
//! increase after a restart is visible to `rate()`.

mod families;
mod request_kind;
mod series;

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use assize_domain::queue::{ClaimPause, StatusCount};
use assize_domain::run::{FailureCode, Status};
use assize_host::clock::Clock;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;

use self::families::Kind;
pub use self::request_kind::RequestKind;
use self::series::{OUTCOMES, attempts, claim_pauses, failures, outcome_of, run_duration, worker_probes};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often [`Metrics::run_upkeep`] must be called: samples of histograms stay in memory until then.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::install);
    &METRICS
}

/// The recorder of this process, and the series without labels.
pub struct Metrics {
    exporter: PrometheusHandle,
    pub(super) runs_queued: Counter,
    queue_wait: Histogram,
    pub(super) runs_adopted: Counter,
    pub(super) leases_lost: Counter,
    pub(super) egress_connections: Counter,
    pub(super) egress_bytes: Counter,
    oom_kills: Counter,
    stale_runs: Gauge,
    heartbeat_last_success: Gauge,
    watchdog_last_success: Gauge,
    queue_depth: Gauge,
    active_half_slots: Gauge,
    /// Open connections of the API.
    pub connections: Gauge,
    /// Requests that are open because they follow live output or wait.
    pub open_requests: Gauge,
    rate_limits_local: Gauge,
    dependencies: Mutex<HashMap<&'static str, bool>>,
}

impl Metrics {
    fn install() -> Self {
        let mut builder = PrometheusBuilder::new();
        for family in families::ALL {
            if let Kind::Histogram { .. } = family.kind {
                // Without buckets the exporter would compute quantiles, which cannot be added up over processes.
                let name = Matcher::Full(family.name.to_owned());
                builder = builder.set_buckets_for_metric(name, &family.buckets()).unwrap_or_else(|error| {
                    tracing::error!(%error, metric = family.name, "the buckets of a histogram are not accepted");
                    PrometheusBuilder::new()
                });
            }
        }
        let recorder = builder.build_recorder();
        let exporter = recorder.handle();
        if let Err(error) = ::metrics::set_global_recorder(recorder) {
            tracing::error!(%error, "metrics are not recorded, because another recorder is installed");
        }
        for family in families::ALL {
            family.describe();
        }
        for outcome in OUTCOMES {
            attempts(outcome).absolute(0);
        }
        for reason in ClaimPause::ALL {
            gauge!(families::CLAIMS_PAUSED.name, "reason" => reason.as_str()).set(0);
            claim_pauses(*reason).absolute(0);
        }
        for is_ok in [true, false] {
            worker_probes(is_ok).absolute(0);
        }
        for limit in families::LIMITS {
            counter!(families::REFUSALS.name, "limit" => *limit).absolute(0);
        }
        Self {
            exporter,
            runs_queued: counter!(families::RUNS_QUEUED.name),
            queue_wait: histogram!(families::QUEUE_WAIT.name),
            runs_adopted: counter!(families::RUNS_ADOPTED.name),
            leases_lost: counter!(families::LEASES_LOST.name),
            egress_connections: counter!(families::EGRESS_CONNECTIONS.name),
            egress_bytes: counter!(families::EGRESS_BYTES.name),
            oom_kills: counter!(families::OOM_KILLS.name),
            stale_runs: gauge!(families::STALE_RUNS.name),
            heartbeat_last_success: gauge!(families::HEARTBEAT_LAST_SUCCESS.name),
            watchdog_last_success: gauge!(families::WATCHDOG_LAST_SUCCESS.name),
            queue_depth: gauge!(families::QUEUE_DEPTH.name),
            active_half_slots: gauge!(families::ACTIVE_HALF_SLOTS.name),
            connections: gauge!(families::CONNECTIONS.name),
            open_requests: gauge!(families::OPEN_REQUESTS.name),
            rate_limits_local: gauge!(families::RATE_LIMITS_LOCAL.name),
            dependencies: Mutex::default(),
        }
    }

    /// Returns all metrics as text. The last line is a comment, so that a reader notices an answer that was cut.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.exporter.render();
        for family in families::ALL {
            // The exporter leaves out a family that has no series yet.
            if !text.contains(&format!("# TYPE {} ", family.name)) {
                text.push_str(&family.header());
            }
        }
        text.push_str("# EOF\n");
        text
    }

    /// Moves the samples of histograms into their buckets.
    pub fn run_upkeep(&self) {
        self.exporter.run_upkeep();
    }

    /// Records that a query was answered, or failed, after `taken`.
    pub fn observe_query(&self, query: &'static str, taken: Duration) {
        histogram!(families::QUERY_DURATION.name, "query" => query).record(taken);
    }

    /// Records that a request was answered with `code` after `taken`; `route` is the pattern, never the path.
    pub fn observe_request(&self, route: &str, code: u16, kind: RequestKind, taken: Duration) {
        let labels = [("route", route.to_owned()), ("code", code.to_string()), ("kind", kind.as_str().to_owned())];
        histogram!(families::REQUEST_DURATION.name, &labels).record(taken);
    }

    pub(super) fn observe_queue_wait(&self, waited: Duration) {
        self.queue_wait.record(waited);
    }

    /// Creates the series of a template, so that its first failure is visible to `rate()`.
    pub fn template_loaded(&self, template: &str) {
        for code in FailureCode::ALL {
            failures(template, *code).increment(0);
        }
        for status in Status::ALL.iter().filter(|status| status.is_terminal()) {
            // An empty histogram counts nothing yet.
            let _created = run_duration(template, *status);
        }
    }

    /// Records which program this is, and that it starts now. `schema` is its newest migration.
    pub fn process_started(&self, version: &'static str, commit: &'static str, schema: i64) {
        let labels = [("version", version.to_owned()), ("commit", commit.to_owned()), ("schema", schema.to_string())];
        gauge!(families::BUILD_INFO.name, &labels).set(1);
        gauge!(families::PROCESS_START.name).set(now());
    }

    /// Records when the signing key of this process was registered, in seconds since 1970.
    pub fn signing_key_created(&self, seconds: i64) {
        gauge!(families::SIGNING_KEY_CREATED.name).set(number(seconds));
    }

    /// Records how many workers live.
    pub fn set_workers(&self, workers: i64) {
        gauge!(families::WORKERS.name).set(number(workers));
    }

    /// Records how many half-slots this worker has, free or not.
    pub fn set_worker_half_slots(&self, half_slots: u32) {
        gauge!(families::WORKER_HALF_SLOTS.name).set(half_slots);
    }

    pub(super) fn run_ended(&self, template: &str, status: Status, taken: Duration) {
        run_duration(template, status).record(taken);
    }

    pub(super) fn attempt_completed(&self) {
        attempts("completed").increment(1);
    }

    pub(super) fn attempt_failed(&self, template: &str, code: FailureCode) {
        failures(template, code).increment(1);
        attempts(outcome_of(code.cause())).increment(1);
    }

    /// Records that the kernel killed so many processes in cells for memory.
    pub fn oom_kills(&self, killed: u64) {
        self.oom_kills.increment(killed);
    }

    /// Records the number of active runs whose lease was not renewed in time.
    pub fn set_stale_runs(&self, runs: i64) {
        self.stale_runs.set(number(runs));
    }

    /// Records that the heartbeat of this worker reached Postgres.
    pub fn heartbeat_succeeded(&self) {
        self.heartbeat_last_success.set(now());
    }

    /// Records that the watchdog has read all leases.
    pub fn watchdog_succeeded(&self) {
        self.watchdog_last_success.set(now());
    }

    /// Creates the series of a job of the janitor. Until the job succeeds, its last success is 0.
    pub fn job_waits(&self, task: &'static str) {
        counter!(families::JANITOR_REMOVED.name, "task" => task).increment(0);
        gauge!(families::JANITOR_LAST_SUCCESS.name, "task" => task).set(0);
    }

    /// Records that a job of the janitor succeeded, and how many objects it removed.
    pub fn job_succeeded(&self, task: &'static str, removed: u64) {
        counter!(families::JANITOR_REMOVED.name, "task" => task).increment(removed);
        gauge!(families::JANITOR_LAST_SUCCESS.name, "task" => task).set(now());
    }

    /// Records that this host does not enforce a limit of cells.
    pub fn limit_unenforced(&self, limit: &str) {
        gauge!(families::LIMIT_UNENFORCED.name, "limit" => limit.to_owned()).set(1);
    }

    /// Records whether the limit of this setting pauses nothing, because its value cannot be read here.
    pub fn pressure_limit_is_blind(&self, setting: &'static str, is_blind: bool) {
        gauge!(families::PRESSURE_LIMIT_BLIND.name, "setting" => setting).set(u32::from(is_blind));
    }

    /// Records how many templates were refused when they were loaded anew.
    pub fn templates_refused(&self, count: usize) {
        gauge!(families::TEMPLATES_REFUSED.name).set(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn claims_paused(&self, reason: ClaimPause, is_paused: bool) {
        gauge!(families::CLAIMS_PAUSED.name, "reason" => reason.as_str()).set(u32::from(is_paused));
        if is_paused {
            claim_pauses(reason).increment(1);
        }
    }

    pub(super) fn worker_probed(&self, is_ok: bool) {
        worker_probes(is_ok).increment(1);
    }

    pub(super) fn refused(&self, limit: &'static str) {
        counter!(families::REFUSALS.name, "limit" => limit).increment(1);
    }

    pub(super) fn rate_limits_local(&self, is_local: bool) {
        self.rate_limits_local.set(u32::from(is_local));
    }

    /// Records the counts of the queue.
    pub fn observe_queue(&self, counts: &[StatusCount]) {
        for status in Status::ALL.iter().filter(|status| status.is_active()) {
            let runs = counts.iter().find(|count| count.status == *status).map_or(0, |count| count.runs);
            gauge!(families::ACTIVE_RUNS.name, "status" => status.as_str()).set(number(runs));
        }
        let queued = counts.iter().find(|count| count.status == Status::Queued);
        self.queue_depth.set(number(queued.map_or(0, |count| count.runs)));
        let active = counts.iter().filter(|count| count.status.is_active());
        self.active_half_slots.set(number(active.map(|count| count.half_slots).sum()));
    }

    /// Records whether a dependency answers; returns true if that changed.
    pub(super) fn dependency(&self, name: &'static str, is_up: bool) -> bool {
        gauge!(families::DEPENDENCY_UP.name, "dependency" => name).set(u32::from(is_up));
        self.dependencies.lock().insert(name, is_up) != Some(is_up)
    }

    /// Returns whether a dependency answers; `None` if nothing was asked of it yet.
    #[must_use]
    pub fn dependency_is_up(&self, name: &str) -> Option<bool> {
        self.dependencies.lock().get(name).copied()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    number(Clock::system().wall().timestamp())
}

/// A count or a time as a gauge holds it; 32 bits are exact in it and last until 2106.
fn number(value: i64) -> f64 {
    f64::from(u32::try_from(value.max(0)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::families::Family;
    use super::*;

    fn line(text: &str, start: &str) -> String {
        text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start}: {text}")).to_owned()
    }

    #[test]
    fn every_family_has_a_type_and_a_help_text() {
        let text = metrics().text();
        for Family { name, help, kind } in families::ALL {
            let kind = kind.as_str();
            assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}: {text}");
            assert_eq!(text.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "{name}: {text}");
            assert_eq!(*kind == *"counter", name.ends_with("_total"), "{name}");
        }
        assert!(text.ends_with("# EOF\n"));
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            assert!(families::ALL.iter().any(|family| line.starts_with(family.name)), "{line}");
        }
    }

    #[test]
    fn series_with_known_labels_begin_at_0() {
        metrics().template_loaded("known");
        let text = metrics().text();
        for series in [
            "assize_failures_total{template=\"known\",code=\"worker_lost\",cause=\"infrastructure\"}",
            "assize_run_duration_seconds_bucket{template=\"known\",status=\"completed\",le=\"0.25\"}",
            "assize_attempts_total{outcome=\"infrastructure\"}",
            "assize_claims_paused{reason=\"draining\"}",
            "assize_claim_pauses_total{reason=\"paused\"}",
            "assize_worker_probes_total{outcome=\"failed\"}",
            "assize_refusals_total{limit=\"connections\"}",
            "assize_queue_wait_seconds_bucket{le=\"0.01\"}",
            "assize_oom_kills_total",
            "assize_stale_runs",
        ] {
            assert_eq!(line(&text, &format!("{series} ")), format!("{series} 0"));
        }
    }

    #[test]
    fn samples_reach_their_buckets() {
        metrics().observe_query("test", Duration::from_millis(3));
        metrics().run_upkeep();
        let text = metrics().text();
        let bucket = |le: &str| {
            line(&text, &format!("assize_database_query_duration_seconds_bucket{{query=\"test\",le=\"{le}\"}} "))
        };
        assert!(bucket("0.002").ends_with(" 0") && bucket("0.004").ends_with(" 1") && bucket("+Inf").ends_with(" 1"));
        assert!(line(&text, "assize_database_query_duration_seconds_count{query=\"test\"}").ends_with(" 1"));
    }

    #[test]
    fn a_dependency_is_news_when_it_changes() {
        assert_eq!(metrics().dependency_is_up("test"), None);
        assert_eq!([true, true, false].map(|is_up| metrics().dependency("test", is_up)), [true, false, true]);
        assert_eq!(metrics().dependency_is_up("test"), Some(false));
        assert!(metrics().text().contains("assize_dependency_up{dependency=\"test\"} 0\n"));
    }

    #[test]
    fn numbers_of_gauges_are_exact() {
        assert_eq!([-1, 0, 1_764_460_000, i64::MAX].map(number), [0.0, 0.0, 1_764_460_000.0, 4_294_967_295.0]);
    }
}
