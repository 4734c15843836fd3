//! A neighbour that works while others attack.

use std::time::Duration;

use reqwest::Method;
use uuid::Uuid;

use super::{case, id, percentile};
use crate::case::{Case, CaseOutcome};
use crate::context::AttackContext;
use crate::trial;
use assize_host as host;

/// TCP port and abstract socket on which the neighbour listens, in its own network namespace.
pub const NEIGHBOUR_PORT: u16 = 8099;
pub const NEIGHBOUR_SOCKET: &str = "assize-attack-neighbour";

const PROGRAM: &str = include_str!("neighbour.py");

/// Largest permitted slowdown of the attacked neighbour against the quiet one, at the 95th percentile.
const MAX_SLOWDOWN: f64 = 1.10;

/// Number of turns of quiet and attack for every kind. If the ratio is exceeded there are more turns, because the host
/// may have been busy with something else.
const TURNS: usize = 3;
const MAX_TURNS: usize = 10;

/// Duration of the quiet part and of the attack in one turn.
const QUIET: Duration = Duration::from_millis(2_000);

/// Smallest number of samples in a window for a 95th percentile.
const MIN_SAMPLES: usize = 60;

/// Idle processors that a host must have while the neighbour is quiet: the share of an attacking cell (half a
/// processor), and as much for the service and the engine. Without it the two cells compete for CPU time in any case,
/// and the ratio proves nothing about their isolation.
const SPARE_CPUS: f64 = 1.0;

/// Name, what is tried, program. Each program runs for two seconds.
const KINDS: &[(&str, &str, &str)] = &[
    (
        "neighbour-memory",
        "processes take all the memory that they may have without being killed for it, again and again",
        "import subprocess, sys\n\
        while time.monotonic() < end:\n    subprocess.run([sys.executable, '-c', 'x = bytearray(70 << 20)\\nx[::4096] = b\"1\" * (70 << 8)'], check=True)\n",
    ),
    (
        "neighbour-pids",
        "a fork bomb",
        "import os, signal\nwhile time.monotonic() < end:\n    try:\n        if os.fork() == 0:\n            \
        time.sleep(0.05)\n            os._exit(0)\n    except OSError:\n        try:\n            os.wait()\n        except OSError:\n            pass\n",
    ),
    (
        "neighbour-output",
        "output without end, at the limit of what is kept",
        "import os\nwhile time.monotonic() < end:\n    os.write(1, b'x' * 65536)\n    time.sleep(0.003)\n",
    ),
    (
        "neighbour-disk",
        "the workspace is filled and emptied, again and again",
        "import os\nwhile time.monotonic() < end:\n    \
        try:\n        with open('/workspace/big', 'wb', buffering=0) as file:\n            while True:\n                file.write(b'x' * 65536)\n    \
        except OSError:\n        os.unlink('/workspace/big')\n",
    ),
];

/// Start of an attacking program; it prints the times of its begin and end.
const FRAME: &str = "import time\nbegun = time.monotonic_ns() // 1000\nend = time.monotonic() + 2\n";
const FRAME_END: &str = "\nprint('\\nA', begun, time.monotonic_ns() // 1000, flush=True)\n";

pub(super) fn cases() -> Vec<Case> {
    let control = "the neighbour's p95 rises by at most 10 %";
    let kinds = KINDS.iter().map(|(name, tried, _)| case(name, &format!("in the cell beside: {tried}"), control));
    let canary = case(
        "neighbour-canary",
        "all of this beside a neighbour that listens and has files",
        "no visit, no file changed, no process seen",
    );
    kinds.chain([canary]).collect()
}

/// The run of a neighbour.
pub struct Neighbour {
    run: Uuid,
}

/// One measurement of the neighbour.
struct Sample {
    at_us: u64,
    took_ms: f64,
    visits: u64,
    intact: bool,
}

impl Neighbour {
    /// Submits a neighbour that works for at most this time, and waits until it works.
    ///
    /// # Errors
    /// The neighbour could not be started.
    pub async fn begin(context: &AttackContext, seconds: u64, measure: bool) -> Result<Self, String> {
        let site = serde_json::json!({
            "port": NEIGHBOUR_PORT, "socket": NEIGHBOUR_SOCKET, "seconds": seconds, "measure": measure,
        });
        let files = [("run.py", PROGRAM.to_owned()), ("site.json", site.to_string())];
        let files = files.map(|(name, text)| (name.to_owned(), text.into_bytes()));
        let run = context.begin(&[id("neighbour-canary")], "neighbour", assize_corpus::project(&files)).await?;
        let neighbour = Self { run };
        let mut look = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..300 {
            look.tick().await;
            if !neighbour.samples(context).await?.is_empty() {
                return Ok(neighbour);
            }
        }
        Err("the neighbour did not begin to work".to_owned())
    }

    async fn samples(&self, context: &AttackContext) -> Result<Vec<Sample>, String> {
        let text = context.text(self.run).await?;
        Ok(text.lines().filter_map(sample).collect())
    }

    /// Ends the neighbour and returns whether it was reached.
    ///
    /// # Errors
    /// The output of the neighbour could not be read.
    pub async fn end(self, context: &AttackContext) -> Result<(), String> {
        self.end_with_samples(context).await.map(drop)
    }

    /// As [`Neighbour::end`], with all samples: only a part of live output is stored, but all output of a run that has
    /// ended.
    async fn end_with_samples(self, context: &AttackContext) -> Result<Vec<Sample>, String> {
        context.send(context.request(Method::POST, &format!("/v1/runs/{}/cancel", self.run))).await?;
        context.ended(self.run).await?;
        let samples = self.samples(context).await?;
        let visits = samples.last().map_or(0, |last| last.visits);
        let touched = samples.iter().filter(|sample| !sample.intact).count();
        let seen = format!("{visits} visits, {touched} of {} looks found something changed", samples.len());
        context.record(
            &id("neighbour-canary"),
            CaseOutcome::contained_if(visits == 0 && touched == 0 && !samples.is_empty(), seen),
        );
        Ok(samples)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let mut words = line.strip_prefix("N ")?.split(' ');
    let mut next = || words.next()?.parse::<u64>().ok();
    let (at_us, took_us, visits, intact) = (next()?, next()?, next()?, next()?);
    Some(Sample { at_us, took_ms: Duration::from_micros(took_us).as_secs_f64() * 1000.0, visits, intact: intact == 1 })
}

/// Begin and end, by the monotonic clock that all cells share.
type Window = (u64, u64);

pub(super) async fn run(context: &AttackContext) {
    let wanted: Vec<_> = KINDS.iter().filter(|(name, ..)| context.wants(&id(name))).collect();
    if wanted.is_empty() && !context.wants(&id("neighbour-canary")) {
        return;
    }
    if let Err(why) = measure(context, &wanted).await {
        for name in wanted.iter().map(|(name, ..)| *name).chain(["neighbour-canary"]) {
            context.record(&id(name), CaseOutcome::Inconclusive(why.clone()));
        }
    }
}

async fn measure(context: &AttackContext, wanted: &[&(&str, &str, &str)]) -> Result<(), String> {
    let neighbour = Neighbour::begin(context, 280, true).await?;
    let mut windows: Vec<(Vec<Window>, Vec<Window>)> = vec![Default::default(); wanted.len()];
    let (mut idle_s, mut quiet_s) = (0.0, 0.0);
    for turn in 0..MAX_TURNS {
        for ((name, _, program), (quiet, attacked)) in wanted.iter().zip(&mut windows) {
            let (begun, idle) = (host::monotonic_us(), idle_seconds()?);
            tokio::time::sleep(QUIET).await;
            let ended = host::monotonic_us();
            idle_s += idle_seconds()? - idle;
            quiet_s += Duration::from_micros(ended - begun).as_secs_f64();
            quiet.push((begun, ended));
            attacked.push(attack(context, name, program).await?);
        }
        let samples = neighbour.samples(context).await?;
        let ratios = windows.iter().map(|(quiet, attacked)| compare(&samples, quiet, attacked));
        let held = ratios.flatten().all(|compared| compared.ratio() <= MAX_SLOWDOWN);
        // The ratio is checked once early and once at the end; checking until it fits would prove nothing.
        if turn + 1 == TURNS && held {
            break;
        }
    }
    let samples = neighbour.end_with_samples(context).await?;
    let spare = idle_s / quiet_s;
    for ((name, ..), (quiet, attacked)) in wanted.iter().zip(&windows) {
        let outcome = match compare(&samples, quiet, attacked) {
            None => CaseOutcome::Inconclusive("too few samples".to_owned()),
            Some(compared) if compared.ratio() > MAX_SLOWDOWN && spare < SPARE_CPUS => {
                CaseOutcome::Inconclusive(format!(
                    "this host is busy: {spare:.1} processors to spare, {SPARE_CPUS:.1} needed; {}",
                    compared.summary()
                ))
            }
            Some(compared) => CaseOutcome::contained_if(compared.ratio() <= MAX_SLOWDOWN, compared.summary()),
        };
        context.record(&id(name), outcome);
    }
    Ok(())
}

/// The time that all processors together were idle since the host started, including waits for a disk.
fn idle_seconds() -> Result<f64, String> {
    /// The kernel reports times to user space in hundredths of a second.
    const TICKS: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
    let ticks = idle_ticks(&text).ok_or("/proc/stat does not say how long the processors were idle")?;
    Ok(ticks / TICKS)
}

/// `cpu  user nice system idle iowait ...`
fn idle_ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().skip(3);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

/// Runs one attack and returns its begin and end.
async fn attack(context: &AttackContext, name: &str, program: &str) -> Result<Window, String> {
    let text = format!("{FRAME}{program}{FRAME_END}");
    let archive = assize_corpus::project(&[("run.py".to_owned(), text.into_bytes())]);
    let run = context.begin(&[id(name)], "beside", archive).await?;
    let ended = context.ended(run).await?;
    let output = context.text(run).await?;
    let window = output.lines().rev().find_map(|line| {
        let (from, to) = line.strip_prefix("A ")?.split_once(' ')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    });
    window.ok_or_else(|| format!("an attack on the neighbour did not take place: {}", trial::describe_end(&ended)))
}

struct Compared {
    /// Of each turn: the 95th percentiles when quiet and when attacked, and their ratio.
    turns: Vec<(f64, f64, f64)>,
    samples: usize,
}

impl Compared {
    /// The median of the turns. Each attack is compared with the quiet part right before it, so that a short
    /// disturbance of the host has no effect.
    fn ratio(&self) -> f64 {
        self.median(|(_, _, ratio)| ratio)
    }

    fn median(&self, of: impl Fn((f64, f64, f64)) -> f64) -> f64 {
        let mut values: Vec<f64> = self.turns.iter().copied().map(of).collect();
        percentile(&mut values, 50).unwrap_or(f64::INFINITY)
    }

    fn summary(&self) -> String {
        let (quiet_ms, attacked_ms) = (self.median(|(quiet, ..)| quiet), self.median(|(_, attacked, _)| attacked));
        let (ratio, turns, samples) = (self.ratio(), self.turns.len(), self.samples);
        format!(
            "p95 {attacked_ms:.1} ms, quiet {quiet_ms:.1} ms, ratio {ratio:.2}, the medians of {turns} turns with {samples} samples"
        )
    }
}

fn compare(samples: &[Sample], quiet: &[Window], attacked: &[Window]) -> Option<Compared> {
    let within = |(from, to): &Window| -> Vec<f64> {
        let inside = samples.iter().filter(|sample| (*from..*to).contains(&sample.at_us));
        inside.map(|sample| sample.took_ms).collect()
    };
    let mut compared = Compared { turns: Vec::new(), samples: 0 };
    for (quiet, attacked) in quiet.iter().zip(attacked) {
        let (mut quiet, mut attacked) = (within(quiet), within(attacked));
        if quiet.len() < MIN_SAMPLES {
            continue;
        }
        compared.samples += attacked.len();
        let quiet_ms = percentile(&mut quiet, 95)?;
        // Few samples during the attack, and enough before: the neighbour hardly ran.
        let attacked_ms =
            percentile(&mut attacked, 95).filter(|_| attacked.len() >= MIN_SAMPLES).unwrap_or(f64::INFINITY);
        compared.turns.push((quiet_ms, attacked_ms, attacked_ms / quiet_ms));
    }
    (!compared.turns.is_empty()).then_some(compared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_and_attacked_samples_are_told_apart_by_their_time() {
        let at = |at_us: u64, took_ms: f64| Sample { at_us, took_ms, visits: 0, intact: true };
        let samples: Vec<Sample> = (0..200).map(|n| if n < 100 { at(n, 10.0) } else { at(n, 11.5) }).collect();
        let (quiet, attacked) = ((0, 100), (100, 200));
        let compared = compare(&samples, &[quiet], &[attacked]).unwrap();
        assert_eq!(compared.samples, 100);
        assert!((compared.ratio() - 1.15).abs() < 1e-9);
        assert!(compare(&samples, &[(0, 10)], &[attacked]).is_none(), "too few");
        let starved = compare(&samples, &[quiet], &[(100, 110)]).unwrap().ratio();
        assert!(starved > 1e9, "what keeps it from its work leaves few samples: {starved}");
        // One disturbed turn has no effect; two of three decide.
        let ratio = |windows: &[Window]| compare(&samples, &[quiet; 3], windows).unwrap().ratio();
        assert!((ratio(&[quiet, attacked, quiet]) - 1.0).abs() < 1e-9);
        assert!((ratio(&[attacked, quiet, attacked]) - 1.15).abs() < 1e-9);
        assert!(sample("N 5 1000 2 1").is_some_and(|sample| sample.visits == 2 && sample.intact));
        assert!(sample("N 5 1000").is_none());
        assert_eq!(idle_ticks("cpu  1 2 3 40 5 6 7 8 9 10\ncpu0 1 2 3"), Some(45.0));
        assert_eq!(idle_ticks("intr 5"), None);
    }
}
