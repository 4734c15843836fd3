//! All log lines of a test binary, at the most detailed level.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::Write;
use std::sync::{Mutex, OnceLock};

use tracing_subscriber::fmt::MakeWriter;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static STARTED: OnceLock<()> = OnceLock::new();

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().map_or(Ok(0), |mut lines| lines.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// Starts to collect the lines; later calls change nothing.
pub fn capture() {
    STARTED.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        subscriber.with_writer(|| Lines).init();
    });
}

/// Returns all lines so far.
pub fn text() -> String {
    LINES.lock().map(|lines| String::from_utf8_lossy(&lines).into_owned()).unwrap_or_default()
}
