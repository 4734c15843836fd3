use std::process::ExitCode;

use assize::cli::{self, Cli, Command, ServerCli, ServerCommand};
use assize_client::exit_code;
use assize_client::outcome::Outcome;
use assize_config::Config;
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    exit_code(if first.is_some_and(|first| ServerCli::is_meant_by(&first)) {
        serve(ServerCli::parse()).await
    } else {
        run(Cli::parse()).await
    })
}

async fn serve(cli: ServerCli) -> Outcome {
    let config = Config::load(cli.settings.config.as_deref())?;
    match cli.command {
        ServerCommand::Api(api) => cli::api::run(api, config).await,
        ServerCommand::Worker(worker) => cli::worker::run(worker, config).await,
    }
}

async fn run(cli: Cli) -> Outcome {
    let file = cli.settings.config.as_deref();
    let config = || Config::load(file);
    match cli.command {
        Command::Up(up) => cli::up::run(up, config()?, file).await,
        Command::Demo(demo) => cli::demo::run(demo, config()?, file).await,
        Command::Doctor(doctor) => cli::doctor::run(doctor, config(), file).await,
        Command::Inspect(inspect) => cli::inspect::run(inspect, &config()?),
        Command::Template(template) => cli::template::run(template, config()?, file).await,
        Command::Client(command) => command.run().await,
        Command::Templates(templates) => cli::templates::run(templates, config).await,
        Command::Api(api) => cli::api::run(api, config()?).await,
        Command::Worker(worker) => cli::worker::run(worker, config()?).await,
        Command::Migrate(migrate) => cli::migrate::run(migrate, config()?).await,
        Command::Key(key) => cli::key::run(key, config()?).await,
        Command::WithServices(with) => cli::with_services::run(with).await,
    }
}
