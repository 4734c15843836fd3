//! What assize is put through before it is trusted: `soak chaos`, `soak load`, `soak hold` and `soak gate`, which `make`
//! calls `chaos`, `load`, `soak` and `gate`.
//!
//! All but the gate start a whole installation of real services and submit projects whose outcomes are known. The gate
//! reads what a load or a soak recorded. The exit code is 0 if all is well, 1 if not, and 2 if the program could not do
//! its work.

mod analysis;
mod audit;
mod cells;
mod chaos;
mod closing;
mod engine;
mod engine_proxy;
mod gate;
mod head;
mod history;
mod hold;
mod installation;
mod load;
mod mix;
mod operations;
mod postgres_proxy;
mod procfs;
mod projects;
mod recording;
mod run_report;
mod sampler;
mod schedule;
mod service;
mod signals;
mod site;
mod stats;
mod tables;
mod testbed;
mod waves;

use std::process::ExitCode;

const USAGE: &str = "usage: soak chaos | load | hold | gate; soak/README.md describes them";

#[tokio::main]
async fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let outcome = match command.as_str() {
        "chaos" => chaos::run().await.map(exit_code),
        "load" => waves::run().await.map(exit_code),
        "hold" => hold::run().await.map(exit_code),
        "gate" => gate::run(),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("soak {command}: error: {error:#}");
        ExitCode::from(2)
    })
}

fn exit_code(is_clean: bool) -> ExitCode {
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
