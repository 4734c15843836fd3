//! A run as it happens, line by line: its moves, its place in the queue, its output.

use std::collections::HashMap;
use std::time::Duration;

use assize_protocol::event::Stream;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Run, conclude, exit_of, ink_of, seconds, verdict_of, whereabouts};
use crate::client::Client;
use crate::follow::{Follow, Move, Told};
use crate::outcome::{Exit, Fault, Outcome};
use crate::screen::{self, Ink, Screen, printable};
use assize_domain::output::Entry;
use assize_domain::run::{StageName, Status};

/// A run is queued this long before it is told where it stands.
const QUEUE_GRACE: Duration = Duration::from_secs(1);

/// Between two looks at the place of a run that is queued.
const QUEUE_LOOK: Duration = Duration::from_secs(3);

/// Bytes of a line of output that is shown as one line; a project may write megabytes without an end.
const MAX_LINE: usize = 4096;

/// Shows a run as it happens, line by line.
struct Telling {
    screen: Screen,
    begun: Option<DateTime<Utc>>,
    /// The unfinished line of each stage and stream.
    open: HashMap<(StageName, bool), String>,
    is_queued: bool,
    /// What was said last of its place in the queue.
    place: String,
}

impl Telling {
    fn tell(&mut self, told: &Told) {
        match told {
            Told::Output(entry) => self.output(entry),
            Told::Moved(moved) => self.moved(moved),
            Told::Cut { reason } => {
                let text = format!("            connection cut ({}), connecting again", printable(reason));
                self.screen.line(self.screen.paint(Ink::Warn, text));
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
        let what = self.screen.paint(ink_of(moved.status), whereabouts(moved.status, moved.phase));
        self.screen.line(format!("{}  {what}{again}{why}", self.screen.paint(Ink::Dim, format!("{at:>10}"))));
    }

    /// Tells a queued run's place, if it is another than before.
    fn queued(&mut self, run: &Run) {
        let Some(queue) = run.queue.as_ref().filter(|_| self.is_queued) else { return };
        let place = queue.phrase();
        if place != self.place {
            self.screen.line(self.screen.paint(Ink::Dim, format!("{:>10}  queued: {place}", "")));
            self.place = place;
        }
    }

    fn output(&mut self, entry: &Entry) {
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
        self.screen.line(self.screen.paint(Ink::Dim, format!("{:>10}  | {shown}", stage.as_str())));
    }

    /// Shows lines that will not be finished any more.
    fn close(&mut self) {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_by_key(|((stage, _), _)| *stage);
        for ((stage, _), line) in open {
            self.output_line(stage, &line);
        }
    }
}

/// Follows a run to its end, tells it, and ends with its verdict or its failure.
///
/// # Errors
/// If the service refuses, or stays away.
pub async fn watch(client: &Client, id: Uuid, as_json: bool) -> Outcome {
    let screen = Screen::progress(as_json);
    let mut telling = Telling { screen, begun: None, open: HashMap::new(), is_queued: false, place: String::new() };
    let mut follow = Follow::new(client, id);
    let mut look = tokio::time::interval(QUEUE_LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let told = tokio::select! {
            told = next_told(&mut follow, client, id, &mut telling, &mut look) => told?,
            _ = tokio::signal::ctrl_c() => {
                telling.close();
                screen.line(format!("the run goes on; follow it again with `assize watch {id}`, end it with `assize cancel {id}`"));
                return Ok(Exit::Interrupted);
            }
        };
        match told {
            Some(told) => {
                telling.tell(&told);
                if matches!(told, Told::Moved(_)) {
                    // What is claimed at once need not be told where it stood.
                    look.reset_after(QUEUE_GRACE);
                }
            }
            None => break,
        }
    }
    telling.close();
    let (run, mut document) = Run::fetch(client, id).await?;
    let verdict = verdict_of(client, &run).await?;
    let exit = exit_of(&run, verdict.as_ref().map(|(verdict, _)| verdict));
    if as_json {
        if let (Some(fields), Some((_, raw))) = (document.as_object_mut(), verdict) {
            fields.insert("verdict".to_owned(), raw);
        }
        screen::json(&document);
    } else {
        conclude(screen, &run, verdict.as_ref().map(|(verdict, _)| verdict));
    }
    Ok(exit)
}

/// What happens next; meanwhile, while the run is queued, its place is told now and then.
async fn next_told(
    follow: &mut Follow<'_>,
    client: &Client,
    id: Uuid,
    telling: &mut Telling,
    look: &mut tokio::time::Interval,
) -> Result<Option<Told>, Fault> {
    let mut next = std::pin::pin!(follow.next());
    loop {
        tokio::select! {
            biased;
            told = &mut next => return told,
            _ = look.tick(), if telling.is_queued => {
                // A place that cannot be asked for is not worth a word: the stream says what is wrong.
                if let Ok((run, _)) = Run::fetch(client, id).await {
                    telling.queued(&run);
                }
            }
        }
    }
}
