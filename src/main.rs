use std::process::ExitCode;

use assize::cli::{self, Cli, Command, ServerCli, ServerCommand};
use assize_client::exit_code;
use assize_client::outcome::{Fault, Outcome};
use assize_config::Config;
use assize_host::inherited_sockets::InheritedSockets;
use clap::Parser;

fn main() -> ExitCode {
    // This changes the environment, so it comes before the runtime starts threads.
    let sockets = InheritedSockets::from_environment();
    exit_code(start(sockets))
}

/// Parses the command line, and runs the command in a runtime of its own.
fn start(sockets: InheritedSockets) -> Outcome {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Fault::infrastructure(format!("cannot start the threads of the program: {error}")))?;
    let first = std::env::args_os().nth(1);
    if first.is_some_and(|first| ServerCli::is_meant_by(&first)) {
        runtime.block_on(serve(ServerCli::parse(), sockets))
    } else {
        runtime.block_on(run(Cli::parse(), sockets))
    }
}

async fn serve(cli: ServerCli, sockets: InheritedSockets) -> Outcome {
    let config = Config::load(cli.settings.config.as_deref())?;
    match cli.command {
        ServerCommand::Api(api) => cli::api::run(api, config, sockets).await,
        ServerCommand::Worker(worker) => cli::worker::run(worker, config, sockets).await,
    }
}

async fn run(cli: Cli, sockets: InheritedSockets) -> Outcome {
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
        Command::Api(api) => cli::api::run(api, config()?, sockets).await,
        Command::Worker(worker) => cli::worker::run(worker, config()?, sockets).await,
        Command::Migrate(migrate) => cli::migrate::run(migrate, config()?).await,
        Command::Tune(tune) => cli::tune::run(&tune),
        Command::Backup(backup) => cli::backup::run(backup, config()?, file).await,
        Command::Restore(restore) => cli::restore::run(restore, config()?).await,
        Command::Key(key) => cli::key::run(key, config()?).await,
        Command::Config(check) => cli::config::run(&check, file),
        Command::Workers(workers) => cli::workers::run(workers, config()?).await,
        Command::Queue(queue) => cli::queue::run(queue, config()?).await,
        Command::Top(top) => cli::top::run(top, config()?).await,
        Command::Pause(pause) => cli::pause::pause(pause, config()?).await,
        Command::Resume(resume) => cli::pause::resume(resume, config()?).await,
        Command::Drain(drain) => cli::pause::drain(drain, config()?).await,
        Command::Cleanup(cleanup) => cli::cleanup::run(cleanup, config()?).await,
        Command::WithServices(with) => cli::with_services::run(with).await,
    }
}
