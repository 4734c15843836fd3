//! The events of a run, read from its event stream over as many connections as necessary.
//!
//! After a cut, the client connects again with the id of the last event, so that no output is lost or repeated. The
//! service may repeat state changes after a reconnect; those that were reported already are dropped.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Response;
use serde::Deserialize;
use uuid::Uuid;

use crate::client::Client;
use crate::outcome::Fault;
use crate::sse::{Event, Parser};
use assize_domain::output::{OutputEntry, TestEntry};
use assize_domain::run::{FailureCode, StageName, Status};
use assize_host::clock::Stopwatch;

/// The wait before the first reconnect. The wait doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Connections in a row that may fail or deliver nothing new. Together they take about half a minute.
const MAX_CUTS: u32 = 10;

/// A connection that lasted this long was healthy: a proxy closed it because it was idle.
const GOOD_CONNECTION: Duration = Duration::from_secs(15);

/// An event of a run, or of the connection that delivers its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    Output(OutputEntry),
    /// The end of a test, as the tests reported it.
    Test(TestEntry),
    Moved(Move),
    /// The connection was cut, and the client connects again.
    Cut {
        reason: String,
    },
}

/// A state change of the run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct Move {
    pub status: Status,
    #[serde(default)]
    pub phase: Option<StageName>,
    pub attempt: i32,
    pub at: DateTime<Utc>,
    #[serde(default)]
    pub failure_code: Option<FailureCode>,
}

struct Connection {
    response: Response,
    parser: Parser,
    since: Stopwatch,
}

/// Follows one run to its end.
pub struct Follow<'a> {
    client: &'a Client,
    run: Uuid,
    connection: Option<Connection>,
    last_id: Option<String>,
    pending: VecDeque<RunEvent>,
    reported: HashSet<Move>,
    cuts: u32,
    is_over: bool,
}

impl<'a> Follow<'a> {
    /// Creates a reader of the events. It connects at the first [`Follow::next`].
    #[must_use]
    pub fn new(client: &'a Client, run: Uuid) -> Self {
        Self {
            client,
            run,
            connection: None,
            last_id: None,
            pending: VecDeque::new(),
            reported: HashSet::new(),
            cuts: 0,
            is_over: false,
        }
    }

    /// Returns the next event, or `None` when the run has ended and all events were returned.
    ///
    /// # Errors
    /// If the service refuses, or stays away.
    pub async fn next(&mut self) -> Result<Option<RunEvent>, Fault> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(Some(event));
            }
            if self.is_over {
                return Ok(None);
            }
            let Some(connection) = &mut self.connection else {
                self.connect().await?;
                continue;
            };
            let events = match connection.response.chunk().await {
                Ok(Some(piece)) => connection.parser.feed(&piece).map_err(|error| error.to_string()),
                Ok(None) => Err("the server closed the connection".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            match events {
                Ok(events) => events.into_iter().for_each(|event| self.handle(event)),
                Err(reason) => self.cut(reason)?,
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Fault> {
        if self.cuts > 0 {
            tokio::time::sleep((MIN_BACKOFF * 2_u32.pow(self.cuts.min(8) - 1)).min(MAX_BACKOFF)).await;
        }
        match self.client.events(self.run, self.last_id.as_deref()).await {
            Ok(response) => {
                self.connection = Some(Connection { response, parser: Parser::default(), since: Stopwatch::start() });
            }
            // A failure of the first connection is returned at once, and so is a rejection by the service.
            Err(fault @ Fault::Usage(_)) => return Err(fault),
            Err(fault) if self.last_id.is_none() && self.reported.is_empty() => return Err(fault),
            Err(fault) => self.cut(fault.to_string())?,
        }
        Ok(())
    }

    fn cut(&mut self, reason: String) -> Result<(), Fault> {
        if self.connection.take().is_some_and(|connection| connection.since.elapsed() >= GOOD_CONNECTION) {
            self.cuts = 0;
        }
        self.cuts += 1;
        if self.cuts > MAX_CUTS {
            let run = self.run;
            return Err(Fault::infrastructure(format!(
                "the connection was cut {} times in a row, last by: {reason}; the run continues, follow it with `assize watch {run}`",
                self.cuts
            )));
        }
        self.pending.push_back(RunEvent::Cut { reason });
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        match event.name.as_str() {
            "output" | "test" => {
                self.cuts = 0;
                self.last_id.clone_from(&event.id);
                let entry = if event.name == "test" {
                    serde_json::from_str(&event.data).map(RunEvent::Test)
                } else {
                    serde_json::from_str(&event.data).map(RunEvent::Output)
                };
                self.pending.extend(entry.ok());
            }
            "status" => {
                if event.id.is_some() {
                    self.last_id.clone_from(&event.id);
                }
                if let Ok(moved) = serde_json::from_str::<Move>(&event.data)
                    && self.reported.insert(moved.clone())
                {
                    self.cuts = 0;
                    self.pending.push_back(RunEvent::Moved(moved));
                }
            }
            "end" => self.is_over = true,
            // A later version of the service may send other events.
            _ => {}
        }
    }
}
