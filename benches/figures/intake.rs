//! How soon a submission is answered, and how many a second can be. No worker runs: the queue only
//! grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use assize_host::clock::{Clock, Stopwatch};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::Scale;
use crate::archives;
use crate::client::{Client, form};
use crate::figure::{Bar, Figure, count, ms, quantile};
use crate::installation::{MeasuredInstallation, templates};
use crate::load::cpu_ms;

/// Requests per second of the open loop.
const RATE: u64 = 200;

/// Bytes of an archive, nearly.
const BYTES: usize = 10_000;

/// Of the closed loops.
const CLIENTS: [usize; 3] = [1, 8, 32];

/// Archives that one client of a closed loop sends, at most.
const MAX_PER_CLIENT: usize = 20_000;

pub async fn measure(scale: Scale) -> Result<Vec<Figure>> {
    let installation = MeasuredInstallation::without_worker(&templates()).await?;
    let measured = all(scale, &installation).await;
    installation.stop().await?;
    measured
}

async fn all(scale: Scale, installation: &MeasuredInstallation) -> Result<Vec<Figure>> {
    // Connections and caches warm up.
    open_loop(&installation.client, RATE).await?;
    let times = open_loop(&installation.client, RATE * scale.seconds).await?;
    let most = times.iter().copied().fold(0.0, f64::max);
    let how = format!("{} requests at {RATE}/s from their scheduled time; max {most:.1}", times.len());
    let mut figures = vec![
        Figure::new("api_202_p50_ms", quantile(&times, 0.5), "ms", Bar::AtMost(5.0)).with(how),
        Figure::new("api_202_p99_ms", quantile(&times, 0.99), "ms", Bar::AtMost(25.0)),
    ];
    for clients in CLIENTS {
        let lasting = Duration::from_secs(scale.seconds.div_ceil(2));
        let before = cpu_ms(installation.api_pid()?)?;
        let (answered, rate) = closed_loop(&installation.client, clients, lasting).await?;
        let each = (cpu_ms(installation.api_pid()?)? - before) / count(answered);
        figures.push(
            Figure::reported(format!("api_202_rate_{clients}"), rate, "1/s")
                .with(format!("closed loop; the API took {each:.3} ms of CPU for each")),
        );
    }
    Ok(figures)
}

/// Sends each at its time, however long the others take; the times from then to the answer, in ms.
async fn open_loop(client: &Client, requests: u64) -> Result<Vec<f64>> {
    let forms = (0..requests).map(|_| new_form()).collect::<Result<Vec<_>>>()?;
    let (send, mut due) = tokio::sync::mpsc::unbounded_channel::<(Instant, Bytes)>();
    // A thread of its own keeps time better than the runtime's timer, which counts whole ms.
    let pacer = std::thread::spawn(move || {
        let clock = Clock::system();
        let begun = clock.monotonic();
        for (number, form) in (0_u64..).zip(forms) {
            let at = begun + Duration::from_micros(number * 1_000_000 / RATE);
            std::thread::sleep(at.saturating_duration_since(clock.monotonic()));
            if send.send((at, form)).is_err() {
                return;
            }
        }
    });
    let mut asked = JoinSet::new();
    while let Some((at, form)) = due.recv().await {
        let client = client.clone();
        asked.spawn(async move { client.submit(form).await.map(|accepted| ms(accepted.at - at)) });
    }
    let answered = asked.join_all().await.into_iter().collect();
    assert!(pacer.join().is_ok(), "the pacer panicked");
    answered
}

/// Answers, and how many that is a second, with so many clients, each of which waits for its answer before it asks again.
async fn closed_loop(client: &Client, clients: usize, lasting: Duration) -> Result<(u64, f64)> {
    let answered = Arc::new(AtomicU64::new(0));
    let begun = Stopwatch::start();
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let (client, answered) = (client.clone(), Arc::clone(&answered));
        running.spawn(async move {
            for _ in 0..MAX_PER_CLIENT {
                if begun.elapsed() >= lasting {
                    break;
                }
                client.submit(new_form()?).await?;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    running.join_all().await.into_iter().collect::<Result<()>>()?;
    let answered = answered.load(Ordering::Relaxed);
    Ok((answered, count(answered) / begun.elapsed().as_secs_f64()))
}

fn new_form() -> Result<Bytes> {
    Ok(form("trivial", &archives::padded("exit 0\n", BYTES)?))
}
