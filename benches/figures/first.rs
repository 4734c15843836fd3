//! How soon a project runs: from the 202 to its first instruction, against create and start.

use anyhow::{Context, Result};
use assize_domain::run::Status;
use assize_host::clock::Clock;
use chrono::{DateTime, Utc};

use crate::Scale;
use crate::archives;
use crate::client::form;
use crate::figure::{Bar, Figure, median, ms};
use crate::installation::{MeasuredInstallation, templates};
use crate::raw::Raw;

/// What the project and the bare container both run. The first instruction is `date`: a fork and an
/// exec that both sides pay.
const SCRIPT: &str = "date +%s%N\n";

#[derive(Default)]
struct Samples {
    run: Vec<f64>,
    run_queue: Vec<f64>,
    run_started: Vec<f64>,
    run_finished: Vec<f64>,
    calls: Vec<f64>,
    bare: Vec<f64>,
}

pub async fn measure(scale: Scale) -> Result<Vec<Figure>> {
    let raw = Raw::like("trivial").await?;
    let installation = MeasuredInstallation::start(&templates()).await?;
    let sampled = sample(scale, &installation, &raw).await;
    raw.clear().await?;
    installation.stop().await?;
    let samples = sampled?;

    let (run, calls, bare) = (median(&samples.run), median(&samples.calls), median(&samples.bare));
    let parts = format!(
        "run {run:.1} ms (claimed after {:.1}, running after {:.1}, finished after {:.1}) / create + start {calls:.1} ms, medians of {}",
        median(&samples.run_queue),
        median(&samples.run_started),
        median(&samples.run_finished),
        scale.repetitions
    );
    Ok(vec![
        Figure::new("first_instruction_ratio", run / calls, "", Bar::AtMost(0.75)).with(parts),
        Figure::reported("first_instruction_to_bare_ratio", run / bare, "")
            .with(format!("run {run:.1} ms / bare container's first instruction {bare:.1} ms after create began")),
        Figure::reported("first_instruction_ms", run, "ms"),
    ])
}

async fn sample(scale: Scale, installation: &MeasuredInstallation, raw: &Raw) -> Result<Samples> {
    let mut samples = Samples::default();
    // The first of each pays for cold caches.
    for round in 0..=scale.repetitions {
        let archive = archives::padded(SCRIPT, 10_000)?;
        let accepted = installation.client.submit(form("trivial", &archive)).await?;
        installation.ended(&[accepted.run]).await?;
        let first = stamp(&installation.client.output(accepted.run).await?)?;

        let begun = Clock::system().wall();
        let life = raw.live(SCRIPT).await?;
        let bare_first = stamp(&life.output)?;
        if round == 0 {
            continue;
        }
        let since = |at: DateTime<Utc>| millis(at - accepted.at_wall);
        samples.run.push(since(first));
        samples.calls.push(ms(life.started));
        samples.bare.push(millis(bare_first - begun));
        for event in installation.store.events_of_run(accepted.run, 0).await? {
            match (event.from_status, event.to_status) {
                (_, Status::Preparing) => samples.run_queue.push(since(event.at)),
                (Some(Status::Preparing), Status::Running) => samples.run_started.push(since(event.at)),
                (_, Status::Completed) => samples.run_finished.push(since(event.at)),
                _ => {}
            }
        }
    }
    Ok(samples)
}

/// Nanoseconds since 1970, as `date` writes them.
fn stamp(text: &str) -> Result<DateTime<Utc>> {
    let nanos = text.lines().next().unwrap_or_default().trim();
    let nanos: i64 = nanos.parse().with_context(|| format!("{text:?} is not the time"))?;
    Ok(DateTime::from_timestamp_nanos(nanos))
}

fn millis(time: chrono::TimeDelta) -> f64 {
    time.as_seconds_f64() * 1000.0
}
