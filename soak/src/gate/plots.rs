//! The charts of a report.

use assize_domain::run::Class;
use chrono::{DateTime, Utc};

use super::chart::{Chart, Line};
use crate::analysis;
use crate::recording::{Arrivals, Recording, Sample};
use crate::stats::{self, real};

/// The number of spans of time that make the points of a chart of runs.
const SPANS: usize = 80;

const MIB: f64 = 1_048_576.0;

/// Returns each chart with the name of its file.
pub fn plots(recording: &Recording) -> Vec<(&'static str, Chart)> {
    let cpus = real(recording.head.host.cpus.max(1));
    let gauge = |name: &'static str, scale: f64| move |sample: &Sample| Some(sample.get(name)? / scale);
    let line = |name: &str, points| Line { name: name.to_owned(), points };
    let over = |read: &dyn Fn(&Sample) -> Option<f64>| over_time(recording, read);
    let share = |name: &str| rate(recording, name, 100.0);
    let mib_s = |name: &str| rate(recording, name, 1.0 / MIB);
    let cpu = |name: &str| rate(recording, name, 100.0 / cpus);
    let chart = |title: &str, lines: Vec<Line>| Chart { title: title.to_owned(), lines, bands: bands(recording) };
    let half_slots = over(&gauge("active_half_slots", 2.0));
    let (waits, times) = runs_over_time(recording);
    vec![
        ("queue-wait.svg", chart("Queue wait, seconds", waits)),
        ("run-time.svg", chart("Run time by class, seconds", times)),
        (
            "cpu.svg",
            chart(
                "CPU, percent of the host, and pressure",
                vec![
                    line("host busy", cpu("host_busy_s")),
                    line("cells", cpu("cells_cpu_s")),
                    line("worker", cpu("worker_cpu_s")),
                    line("API", cpu("api_cpu_s")),
                    line("dockerd, containerd", sum(&cpu("dockerd_cpu_s"), &cpu("containerd_cpu_s"))),
                    line("Postgres, Redis", cpu("servers_cpu_s")),
                    line("generator", cpu("generator_cpu_s")),
                    line("PSI cpu some", share("psi_cpu_some_s")),
                ],
            ),
        ),
        (
            "memory.svg",
            chart(
                "Memory, MiB",
                vec![
                    line("cells", over(&gauge("cells_memory_bytes", MIB))),
                    line("worker", over(&gauge("worker_rss_bytes", MIB))),
                    line("API", over(&gauge("api_rss_bytes", MIB))),
                    line("dockerd", over(&gauge("dockerd_rss_bytes", MIB))),
                    line("containerd", over(&gauge("containerd_rss_bytes", MIB))),
                    line("Redis", over(&gauge("redis_bytes", MIB))),
                    line("generator", over(&gauge("generator_rss_bytes", MIB))),
                ],
            ),
        ),
        (
            "disk.svg",
            chart(
                "Disk, MiB per second, tables in MiB, and pressure",
                vec![
                    line("written", mib_s("disk_written_bytes")),
                    line("read", mib_s("disk_read_bytes")),
                    line("tables and indexes", over(&gauge("relation_bytes", MIB))),
                    line("PSI io some, percent", share("psi_io_some_s")),
                ],
            ),
        ),
        (
            "slots.svg",
            chart(
                "Slots and evaluations",
                vec![
                    line("slots in use", half_slots),
                    line("active", over(&gauge("active", 1.0))),
                    line("queued", over(&gauge("queued", 1.0))),
                    line("in flight", over(&|sample| Some(sample.get("queued")? + sample.get("active")?))),
                ],
            ),
        ),
    ]
}

fn minutes(recording: &Recording, at: DateTime<Utc>) -> f64 {
    (at - recording.head.begun_at).as_seconds_f64() / 60.0
}

fn bands(recording: &Recording) -> Vec<(f64, f64)> {
    recording.faults.iter().map(|fault| (minutes(recording, fault.from), minutes(recording, fault.until))).collect()
}

fn over_time(recording: &Recording, read: &dyn Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
    recording.samples.iter().filter_map(|sample| Some((minutes(recording, sample.at), read(sample)?))).collect()
}

/// Returns the growth of a total per second, times a factor. A total that begins anew has no point.
fn rate(recording: &Recording, name: &str, factor: f64) -> Vec<(f64, f64)> {
    let pairs = recording.samples.windows(2);
    let point = |pair: &[Sample]| {
        let [before, after] = pair else { return None };
        let seconds = (after.at - before.at).as_seconds_f64();
        let more = after.get(name)? - before.get(name)?;
        (seconds > 0.0 && more >= 0.0).then(|| (minutes(recording, after.at), more / seconds * factor))
    };
    pairs.filter_map(point).collect()
}

fn sum(one: &[(f64, f64)], other: &[(f64, f64)]) -> Vec<(f64, f64)> {
    one.iter().zip(other).map(|((x, y), (_, more))| (*x, y + more)).collect()
}

/// Returns the lines of queue wait and of run time, each point over the runs that ended in a span.
fn runs_over_time(recording: &Recording) -> (Vec<Line>, Vec<Line>) {
    let claims = analysis::first_claims(recording);
    let mut ended: Vec<(f64, Option<Class>, f64, f64)> = recording
        .runs
        .iter()
        .filter_map(|run| {
            let at = minutes(recording, run.end.as_ref()?.finished_at?);
            let (wait, time) = analysis::times(run, Arrivals::Closed, &claims)?;
            Some((at, run.class, wait, time))
        })
        .collect();
    ended.sort_by(|one, two| one.0.total_cmp(&two.0));
    let spans = |values: Vec<(f64, f64)>, share: f64| -> Vec<(f64, f64)> {
        let size = values.len().div_ceil(SPANS).max(1);
        let point = |span: &[(f64, f64)]| {
            let of: Vec<f64> = span.iter().map(|(_, value)| *value).collect();
            Some((span.last()?.0, stats::quantile(&of, share)?))
        };
        values.chunks(size).filter_map(point).collect()
    };
    let waits: Vec<(f64, f64)> = ended.iter().map(|(at, _, wait, _)| (*at, *wait)).collect();
    let wait = |name: &str, share| Line { name: name.to_owned(), points: spans(waits.clone(), share) };
    let times = [Class::A, Class::B, Class::C].into_iter().flat_map(|class| {
        let own = ended.iter().filter(|(_, other, ..)| *other == Some(class));
        let own: Vec<(f64, f64)> = own.map(|(at, _, _, time)| (*at, *time)).collect();
        [("p50", 0.5), ("p95", 0.95)]
            .map(|(name, share)| Line { name: format!("{class} {name}"), points: spans(own.clone(), share) })
    });
    let times = times.collect();
    (vec![wait("p50", 0.5), wait("p95", 0.95)], times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::fixture;

    #[test]
    fn every_chart_of_a_recording_has_lines() {
        for (name, chart) in plots(&fixture::recording()) {
            assert!(chart.lines.iter().any(|line| line.points.len() > 10), "{name}");
            assert_eq!(chart.bands.len(), 1);
        }
    }
}
