//! The progress of a run, line by line: its state changes, its queue position, its output and the ends of its tests.

use std::collections::HashMap;
use std::time::Duration;

use assize_protocol::event::Stream;
use assize_protocol::progress::ReportedStatus;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Run, exit_of, print_summary, seconds, state_text, style_of, verdict_of};
use crate::client::Client;
use crate::follow::{Follow, Move, RunEvent};
use crate::outcome::{Exit, Fault, Outcome};
use crate::terminal::{self, Style, Terminal, printable};
use assize_domain::output::{OutputEntry, TestEntry};
use assize_domain::run::{StageName, Status};
use assize_domain::unicode;

/// How long a run is queued before its position is shown.
const QUEUE_GRACE: Duration = Duration::from_secs(1);

/// The time between two requests for the position of a queued run.
const QUEUE_POLL_INTERVAL: Duration = Duration::from_secs(3);

/// The longest line of output that is shown as one line, in bytes. A project may write megabytes without a line end.
const MAX_LINE: usize = 4096;

/// Prints the events of a run, line by line.
struct ProgressPrinter {
    terminal: Terminal,
    /// Whether the ends of tests are printed as JSON.
    as_json: bool,
    begun: Option<DateTime<Utc>>,
    /// The unfinished line of each stage and stream.
    open: HashMap<(StageName, bool), String>,
    is_queued: bool,
    /// The queue position that was printed last.
    position: String,
}

impl ProgressPrinter {
    fn print(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Output(entry) => self.output(entry),
            RunEvent::Test(entry) => self.test(entry),
            RunEvent::Moved(moved) => self.moved(moved),
            RunEvent::Cut { reason } => {
                let text = format!("            connection cut ({}), connecting again", printable(reason));
                self.terminal.line(self.terminal.paint(Style::Warn, text));
            }
        }
    }

    fn moved(&mut self, moved: &Move) {
        self.close();
        self.is_queued = moved.status == Status::Queued;
        let begun = *self.begun.get_or_insert(moved.at);
        let at = seconds((moved.at - begun).num_milliseconds());
        let again = if moved.attempt > 1 { format!(" (attempt {})", moved.attempt) } else { String::new() };
        let why = moved.failure_code.map_or_else(String::new, |code| format!(": {code}"));
        let what = self.terminal.paint(style_of(moved.status), state_text(moved.status, moved.phase));
        self.terminal.line(format!("{}  {what}{again}{why}", self.terminal.paint(Style::Dim, format!("{at:>10}"))));
    }

    /// Prints the position of a queued run, if it has changed.
    fn queued(&mut self, run: &Run) {
        let Some(queue) = run.queue.as_ref().filter(|_| self.is_queued) else { return };
        let position = queue.phrase();
        if position != self.position {
            self.terminal.line(self.terminal.paint(Style::Dim, format!("{:>10}  queued: {position}", "")));
            self.position = position;
        }
    }

    fn test(&self, entry: &TestEntry) {
        if self.as_json {
            let text = serde_json::to_string(entry).unwrap_or_default();
            return self.terminal.line(unicode::escaped_json(&text));
        }
        let style = match entry.status {
            ReportedStatus::Passed => Style::Good,
            ReportedStatus::Failed | ReportedStatus::Errored => Style::Bad,
            ReportedStatus::Skipped => Style::Warn,
        };
        let status = self.terminal.paint(style, format!("{:<7}", entry.status.as_str()));
        self.terminal.line(format!("{:>10}  {status}  {}", "test", printable(&entry.test)));
    }

    fn output(&mut self, entry: &OutputEntry) {
        let key = (entry.stage, entry.stream == Stream::Stderr);
        let mut open = self.open.remove(&key).unwrap_or_default();
        open.push_str(&entry.text);
        while let Some((line, rest)) = open.split_once('\n') {
            self.output_line(entry.stage, line);
            open = rest.to_owned();
        }
        if open.len() > MAX_LINE {
            self.output_line(entry.stage, &std::mem::take(&mut open));
        }
        if !open.is_empty() {
            self.open.insert(key, open);
        }
    }

    fn output_line(&self, stage: StageName, line: &str) {
        let shown = printable(line.strip_suffix('\r').unwrap_or(line));
        self.terminal.line(self.terminal.paint(Style::Dim, format!("{:>10}  | {shown}", stage.as_str())));
    }

    /// Prints the lines that are still unfinished.
    fn close(&mut self) {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_by_key(|((stage, _), _)| *stage);
        for ((stage, _), line) in open {
            self.output_line(stage, &line);
        }
    }
}

/// Follows a run until it ends, prints its events, and prints its verdict or failure.
///
/// # Errors
/// [`Fault`] if the service rejects a request or does not answer.
pub async fn watch(client: &Client, id: Uuid, as_json: bool) -> Outcome {
    let terminal = Terminal::progress(as_json);
    let mut progress = ProgressPrinter {
        terminal,
        as_json,
        begun: None,
        open: HashMap::new(),
        is_queued: false,
        position: String::new(),
    };
    let mut follow = Follow::new(client, id);
    let mut poll = tokio::time::interval(QUEUE_POLL_INTERVAL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            event = next_event(&mut follow, client, id, &mut progress, &mut poll) => event?,
            _ = tokio::signal::ctrl_c() => {
                progress.close();
                terminal.line(format!("the run continues; follow it with `assize watch {id}`, or cancel it with `assize cancel {id}`"));
                return Ok(Exit::Interrupted);
            }
        };
        match event {
            Some(event) => {
                progress.print(&event);
                if matches!(event, RunEvent::Moved(_)) {
                    // A run that is claimed at once needs no line about its position.
                    poll.reset_after(QUEUE_GRACE);
                }
            }
            None => break,
        }
    }
    progress.close();
    let (run, mut document) = Run::fetch(client, id).await?;
    let verdict = verdict_of(client, &run).await?;
    let exit = exit_of(&run, verdict.as_ref().map(|(verdict, _)| verdict));
    if as_json {
        if let (Some(fields), Some((_, raw))) = (document.as_object_mut(), verdict) {
            fields.insert("verdict".to_owned(), raw);
        }
        terminal::json(&document);
    } else {
        print_summary(terminal, &run, verdict.as_ref().map(|(verdict, _)| verdict));
    }
    Ok(exit)
}

/// Returns the next event. Meanwhile, while the run is queued, its position is printed now and then.
async fn next_event(
    follow: &mut Follow<'_>,
    client: &Client,
    id: Uuid,
    progress: &mut ProgressPrinter,
    poll: &mut tokio::time::Interval,
) -> Result<Option<RunEvent>, Fault> {
    let mut next = std::pin::pin!(follow.next());
    loop {
        tokio::select! {
            biased;
            event = &mut next => return event,
            _ = poll.tick(), if progress.is_queued => {
                // If this request fails, the event stream will report why.
                if let Ok((run, _)) = Run::fetch(client, id).await {
                    progress.queued(&run);
                }
            }
        }
    }
}
