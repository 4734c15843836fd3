//! What can be seen of the service: logs, metrics, and the one place for each event.
//!
//! [`event`] has one function per event, which writes the log line and moves the metric; nothing
//! else does either for a run. [`mod@metrics`] holds the numbers.

pub mod event;
pub mod metrics;
mod plain;

pub use metrics::metrics;

use std::io::IsTerminal;

use assize_config::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::plain::{Lines, Plain};

/// Starts logging to stderr. The first call in a process counts.
///
/// # Errors
/// If `filter` is not a log filter.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("setting log is {filter:?}: {error}; try `info` or `assize=debug`"))?;
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let coloured = !json && std::io::stderr().is_terminal();
    let lines = match (json, coloured) {
        (true, _) => Lines::Json,
        (false, true) => Lines::Coloured,
        (false, false) => Lines::Text,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(Plain { inner: std::io::stderr, lines });
    if json {
        registry.with(layer.json().flatten_event(true).with_current_span(true).with_span_list(false)).try_init().ok();
    } else {
        registry.with(layer.with_target(false).with_ansi(coloured)).try_init().ok();
    }
    Ok(())
}
