//! What a claim costs, however long the queue is and whatever its shape; and that it is fair.
//!
//! Runs are made, claimed and ended in Postgres alone. The active runs are those of the reference host:
//! 40 slots, full; one run ends, another is queued, and the call that is timed claims what fits.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use assize_domain::queue::AdmissionCaps;
use assize_host::clock::Stopwatch;
use assize_store::queue::Wanted;
use assize_store::workers::WorkerReport;
use rand::Rng;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Scale;
use crate::figure::{Bar, Figure, count, median, ms, quantile};
use crate::queue::{Active, CAPACITY, Claimer, ORGANIZATIONS, Queue, Server, Shape, Time, USERS, end};

const P99_MS: f64 = 5.0;
const RATIO: f64 = 1.5;
const WORKERS: [usize; 3] = [1, 4, 16];

/// Runs of one organisation in one second.
const BURST: i64 = 3_800;

/// Single runs of others that come into it.
const LONE: usize = 40;

pub async fn measure(scale: Scale) -> Result<Vec<Figure>> {
    let server = Server::start().await?;
    let mut bench = Bench { scale, figures: Vec::new(), exceeded: 0 };
    let done = bench.all(&server).await;
    let figures = std::mem::take(&mut bench.figures);
    server.stop().await?;
    done.map(|()| figures)
}

struct Bench {
    scale: Scale,
    figures: Vec<Figure>,
    exceeded: usize,
}

impl Bench {
    async fn all(&mut self, server: &Server) -> Result<()> {
        let lengths = self.scale.queues;
        let mut queues = Vec::new();
        for length in lengths {
            queues.push((length, server.queue(&format!("queue_{length}")).await?));
        }
        for shape in Shape::ALL {
            for (length, queue) in &queues {
                queue.clear().await?;
                queue.fill(shape, *length).await?;
            }
            self.lengths(&queues, shape, "", None).await?;
            if shape == Shape::Even {
                self.explained(&queues).await?;
            }
            if let (Shape::Even, Some((length, longest))) = (shape, queues.last()) {
                self.rates(longest).await?;
                self.burst(longest, *length).await?;
            }
        }
        // The shortest and the longest again, with a past.
        queues.remove(1);
        for (length, queue) in &queues {
            queue.clear().await?;
            queue.insert_ended(self.scale.ended).await?;
            queue.fill(Shape::Even, *length).await?;
        }
        self.lengths(&queues, Shape::Even, "_after_ended", None).await?;
        let held = Duration::from_secs(self.scale.held_seconds);
        self.lengths(&queues, Shape::Even, "_held_open", Some(held)).await?;
        self.lone(&queues[0].1).await?;
        self.figures.push(
            Figure::new("claim_caps_exceeded", count(self.exceeded), "", Bar::AtMost(0.0))
                .with("all five caps, looked at after every claim"),
        );
        Ok(())
    }

    /// Claims from queues of one shape and of several lengths, in turns, so that all of them meet with
    /// the same of what else the machine does. With a transaction that stays open in each, those count
    /// that fall into the last third of its time, when what is dead has piled up.
    async fn lengths(
        &mut self,
        queues: &[(i64, Queue)],
        shape: Shape,
        suffix: &str,
        held: Option<Duration>,
    ) -> Result<()> {
        let (mut claimers, mut open) = (Vec::new(), Vec::new());
        for (_, queue) in queues {
            let mut claimer = Claimer::new(queue, shape.caps()).await?;
            let kept = if shape == Shape::Capped { claimer.cap_heads().await? } else { 0 };
            claimer.fill().await?;
            claimers.push((claimer, kept));
            if held.is_some() {
                let mut transaction = queue.pool.begin().await?;
                let statements = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()";
                sqlx::raw_sql(statements).execute(&mut *transaction).await?;
                open.push(transaction);
            }
        }
        let begun = Stopwatch::start();
        let warm_up = self.scale.claims / 10;
        for turn in 0_usize.. {
            let is_over = held.map_or(turn >= warm_up + self.scale.claims, |held| begun.elapsed() >= held);
            if is_over {
                break;
            }
            let is_early = held.map_or(turn < warm_up, |held| begun.elapsed() < held * 2 / 3);
            for (claimer, kept) in &mut claimers {
                claimer.turn_over(*kept).await?;
                if is_early {
                    claimer.times.clear();
                }
            }
        }
        for transaction in open {
            transaction.rollback().await?;
        }
        let mut first = None;
        for ((length, _), (mut claimer, _)) in queues.iter().zip(claimers) {
            let name = format!("claim_{}_{}{suffix}", shape.name(), short(*length));
            first = self.add_figures(&name, &claimer.times, first);
            claimer.end_all().await?;
            self.exceeded += claimer.exceeded;
        }
        Ok(())
    }

    /// What it costs Postgres to say why a run waits, of the last run of each organisation, with all slots
    /// taken. The API asks at most once a second for each run that someone reads.
    async fn explained(&mut self, queues: &[(i64, Queue)]) -> Result<()> {
        for (length, queue) in queues {
            let mut claimer = Claimer::new(queue, Shape::Even.caps()).await?;
            claimer.fill().await?;
            let worker =
                WorkerReport { id: "worker", half_slots: CAPACITY, state: "claiming", detail: "", unenforced: &[] };
            queue.store.report_worker(worker).await?;
            let mut times = Vec::new();
            for (organization, run) in queue.last_of_each().await? {
                let begun = Stopwatch::start();
                let facts = queue.store.explain_queued(organization, run, &claimer.caps).await?;
                times.push(ms(begun.elapsed()));
                facts.context("it is queued")?;
            }
            claimer.end_all().await?;
            let (p50, p99) = (median(&times), quantile(&times, 0.99));
            let name = format!("explain_{}_p99_ms", short(*length));
            eprintln!("  {name}: {p99:.2}, p50 {p50:.2}");
            let how = format!("p50 {p50:.2}; why the last run of an organisation waits; {} calls", times.len());
            self.figures.push(Figure::reported(name, p99, "ms").with(how));
        }
        Ok(())
    }

    /// Keeps the figures of one queue; the p99 of the first, with which the others are compared.
    fn add_figures(&mut self, name: &str, times: &[Time], first: Option<(f64, f64)>) -> Option<(f64, f64)> {
        let (wall, cpu): (Vec<_>, Vec<_>) = times.iter().map(|time| (time.wall, time.cpu)).unzip();
        let (p50, p99) = (median(&wall), quantile(&wall, 0.99));
        let (cpu_p50, cpu_p99) = (median(&cpu), quantile(&cpu, 0.99));
        let most = wall.iter().copied().fold(0.0, f64::max);
        let calls = times.len();
        let how =
            format!("p50 {p50:.2}, max {most:.2}; CPU of Postgres p50 {cpu_p50:.2}, p99 {cpu_p99:.2}; {calls} calls");
        eprintln!("  {name}: p99 {p99:.2}, {how}");
        self.figures.push(Figure::new(format!("{name}_p99_ms"), p99, "ms", Bar::AtMost(P99_MS)).with(how));
        let Some((first_p99, first_cpu)) = first else { return Some((p99, cpu_p99)) };
        let (ratio, cpu_ratio, than) = (p99 / first_p99, cpu_p99 / first_cpu, short(self.scale.queues[0]));
        self.figures.push(
            Figure::new(format!("{name}_ratio"), ratio, "", Bar::AtMost(RATIO))
                .with(format!("p99 against {first_p99:.2} ms in a queue of {than}; of the CPU alone {cpu_ratio:.2}")),
        );
        first
    }

    /// Claims per second, each worker claiming and ending as fast as it can; then the same with a look
    /// at all caps after each claim.
    async fn rates(&mut self, queue: &Queue) -> Result<()> {
        let caps = Shape::Even.caps();
        for workers in WORKERS {
            let lasting = Duration::from_secs(self.scale.seconds.div_ceil(3));
            let begun = Stopwatch::start();
            let mut racing = JoinSet::new();
            for number in 0..workers {
                let (store, pool) = (queue.another_store()?, queue.pool.clone());
                racing.spawn(async move {
                    let mut claimed = 0_u64;
                    while begun.elapsed() < lasting {
                        for claim in store.claim_runs(&format!("worker-{number}"), one(caps)).await? {
                            claimed += 1;
                            end(&pool, claim.id).await?;
                        }
                    }
                    anyhow::Ok(claimed)
                });
            }
            let claimed: u64 = racing.join_all().await.into_iter().sum::<Result<u64>>()?;
            let rate = count(claimed) / begun.elapsed().as_secs_f64();
            eprintln!("  {workers} workers: {rate:.0} claims/s");
            let how = "each run is claimed alone and ended; every commit is on disk";
            self.figures.push(Figure::reported(format!("claims_per_s_{workers}"), rate, "1/s").with(how));
        }
        self.race(queue).await
    }

    /// Sixteen workers under caps that are always reached.
    async fn race(&mut self, queue: &Queue) -> Result<()> {
        let caps = AdmissionCaps { total_half_slots: 12, browser: 4, api: 5, ..Shape::Even.caps() };
        let claims_each = self.scale.claims / 20;
        let mut checks: Vec<i64> = Vec::new();
        let racing = (0..16).map(|number| async move {
            let store = queue.another_store()?;
            let mut seen = Vec::new();
            for _ in 0..claims_each {
                let claims = store.claim_runs(&format!("worker-{number}"), Wanted { most: 2, ..one(caps) }).await?;
                seen.push(queue.exceeded(&caps).await?);
                for claim in claims {
                    end(&queue.pool, claim.id).await?;
                }
            }
            anyhow::Ok(seen)
        });
        for seen in futures_util::future::try_join_all(racing).await? {
            checks.extend(seen);
        }
        self.exceeded += checks.iter().filter(|over| **over > 0).count();
        Ok(())
    }

    /// One organisation queues 3,800 runs in one second on top of all that waits; the others go on.
    async fn burst(&mut self, queue: &Queue, length: i64) -> Result<()> {
        queue.settle().await?;
        let at = "now() - interval '1 s' + (n % 3800) * interval '250 us'";
        queue.insert("7", &format!("n % {USERS}"), at, 2 * length, 2 * length + BURST).await?;
        let mut claimer = Claimer::new(queue, Shape::Even.caps()).await?;
        claimer.fill().await?;
        let mut shares: HashMap<Uuid, f64> = HashMap::new();
        // Several rounds of all organisations.
        for _ in 0..(self.scale.claims * 3).max(3_000) {
            let ended = claimer.end(0).await?;
            claimer.replace(&ended).await?;
            for run in claimer.claim().await? {
                *shares.entry(run.organization).or_default() += 1.0;
            }
        }
        let name = format!("claim_burst_{}", short(length));
        let times = std::mem::take(&mut claimer.times);
        self.add_figures(&name, &times, None);
        self.exceeded += claimer.exceeded;
        let (sum, squares) =
            shares.values().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
        let index = sum * sum / (count(ORGANIZATIONS.unsigned_abs()) * squares);
        let most = shares.values().copied().fold(0.0, f64::max);
        self.figures.push(Figure::new("fairness_jain", index, "", Bar::AtLeast(0.95)).with(format!(
            "{sum} claims of {} of 1000 organisations, the most of one {most}, while one has {BURST} more than the others",
            shares.len()
        )));
        Ok(())
    }

    /// Single runs that come into a burst, on a clock of the bench's own: runs take about a second of
    /// it, and a slot that comes free is claimed at once. The burst may have every slot, and all runs
    /// are beyond their patience.
    async fn lone(&mut self, queue: &Queue) -> Result<()> {
        queue.clear().await?;
        let at = "now() - interval '1 s' + n * interval '250 us'";
        queue.insert("0", &format!("n % {USERS}"), at, 0, BURST).await?;
        let caps = AdmissionCaps { per_org: 1_000, heavy_reserve_after_s: 0.0, ..Shape::Even.caps() };
        let mut claimer = Claimer::new(queue, caps).await?;
        let schools: Vec<Uuid> =
            sqlx::query_scalar("SELECT id FROM bench_schools ORDER BY number").fetch_all(&queue.pool).await?;
        let (mut now, mut durations, mut waits) = (0.0, Vec::new(), Vec::new());
        let mut ends: HashMap<Uuid, f64> = HashMap::new();
        let mut lone: Option<(Uuid, f64)> = None;
        while waits.len() < LONE {
            if lone.is_none() && durations.len() > 60 && rand::rng().random_bool(0.2) {
                let school = schools[1 + waits.len()];
                lone = Some((claimer.submit(school, "user", [1, 2, 4][waits.len() % 3]).await?, now));
            }
            for run in claimer.claim().await? {
                let duration = rand::rng().random_range(0.5..1.5);
                durations.push(duration);
                ends.insert(run.id, now + duration);
                if let Some((_, since)) = lone.take_if(|(id, _)| *id == run.id) {
                    waits.push(now - since);
                }
            }
            let next = |run: &Active| ends.get(&run.id).copied().unwrap_or(f64::MAX);
            let place = (0..claimer.active.len())
                .min_by(|a, b| next(&claimer.active[*a]).total_cmp(&next(&claimer.active[*b])));
            let place = place.context("nothing is active")?;
            now = next(&claimer.active[place]);
            claimer.end(place).await?;
        }
        self.exceeded += claimer.exceeded;
        let longest = waits.iter().copied().fold(0.0, f64::max);
        self.figures
            .push(Figure::new("lone_run_wait", longest / median(&durations), "", Bar::AtMost(2.0)).with(format!(
            "median run times; the longest of {LONE}, the median {:.2}; of all classes, in a burst of {BURST} that may \
                 have every slot",
            median(&waits) / median(&durations)
        )));
        Ok(())
    }
}

fn one(caps: AdmissionCaps) -> Wanted {
    Wanted { worker_half_slots: CAPACITY, worker_capacity: CAPACITY, caps, most: 1 }
}

/// 1000000 is "1m".
fn short(length: i64) -> String {
    match length {
        1_000_000.. => format!("{}m", length / 1_000_000),
        1_000.. => format!("{}k", length / 1_000),
        _ => length.to_string(),
    }
}
