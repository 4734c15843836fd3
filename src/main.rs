use std::process::ExitCode;

use assize::cli::outcome::Outcome;
use assize::cli::screen::{Ink, Screen, printable_lines};
use assize::cli::{self, Cli, Command};
use assize_config::Config;
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(exit) => exit.into(),
        Err(fault) => {
            let screen = Screen::stderr();
            screen.line(format!("{} {}", screen.paint(Ink::Bad, "error:"), printable_lines(&fault.to_string())));
            fault.exit().into()
        }
    }
}

async fn run(cli: Cli) -> Outcome {
    let file = cli.config.as_deref();
    let config = || Config::load(file);
    match cli.command {
        Command::Up(up) => cli::up::run(up, config()?, file).await,
        Command::Demo(demo) => cli::demo::run(demo, config()?, file).await,
        Command::Doctor(doctor) => cli::doctor::run(doctor, config(), file).await,
        Command::Submit(submit) => cli::submit::run(submit).await,
        Command::Watch(watch) => cli::runs::watch(watch).await,
        Command::Status(show) => cli::runs::status(show).await,
        Command::Verdict(verdict) => cli::verdict::run(verdict).await,
        Command::Verify(verify) => cli::verify::run(&verify),
        Command::Cancel(cancel) => cli::runs::cancel(cancel).await,
        Command::Runs(runs) => cli::runs::list(runs).await,
        Command::Templates(templates) => cli::runs::templates(templates).await,
        Command::Api(api) => cli::api::run(api, config()?).await,
        Command::Worker(worker) => cli::worker::run(worker, config()?).await,
        Command::Migrate(migrate) => cli::migrate::run(migrate, config()?).await,
        Command::Key(key) => cli::key::run(key, config()?).await,
        Command::WithServices(with) => cli::services::run(with).await,
    }
}
