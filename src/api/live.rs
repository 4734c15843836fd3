//! Live output as Server-Sent Events, with the ends of tests that the tests report.
//!
//! One stream follows one run in rounds. A round reads the run first and its output second, so that the output of a run
//! that has ended is complete. Redis has the output of the attempt in progress. When an attempt has ended, its blob has
//! the rest.
//!
//! Invariant: a client receives the ids `1-1 1-2 .. 2-1 ..` without a gap or a repetition, over any number of connections
//! that each send the last id that arrived. So if Redis lost an entry, the stream sends no later entry until the blob has
//! the lost one, and reports a gap to the client. If it sent the later entries first, no value of `Last-Event-ID` could
//! describe what the client has.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use assize_domain::output::{Entry, EntryId};
use assize_domain::run::{FailureCode, StageName, Status};
use assize_observe::event;
use assize_store::StoreError;
use assize_store::events::RunEvent;
use assize_store::runs::RunRow;
use axum::http::{HeaderName, HeaderValue};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use chrono::{DateTime, Utc};
use futures_util::Stream;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::auth::Caller;
use super::open_requests::OpenRequestPermit;
use super::problem::Problem;
use super::run_watch::RunWatch;
use super::runs;
use super::state::ApiState;
use super::stored_output::{BATCH, read_ended_attempt};
use super::views::RunView;

/// The time without an event after which the stream sends a comment, which shows that the connection works.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Which part of a run's output a client requested.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputFilter {
    pub after: Option<EntryId>,
    pub stage: Option<StageName>,
}

/// The data of a `status` event.
#[derive(Serialize)]
struct StatusChange {
    status: Status,
    phase: Option<StageName>,
    attempt: i32,
    at: DateTime<Utc>,
    failure_code: Option<FailureCode>,
}

impl From<&RunEvent> for StatusChange {
    fn from(event: &RunEvent) -> Self {
        let RunEvent { attempt, at, to_status, phase, failure_code, .. } = *event;
        Self { status: to_status, phase, attempt, at, failure_code }
    }
}

/// The data of a `gap` event: live output after this id was lost, and follows when the attempt has ended.
#[derive(Serialize)]
struct OutputGap {
    after: EntryId,
}

/// Follows a run until it has ended or the service stops.
pub(super) async fn follow(
    api: ApiState,
    caller: Caller,
    id: Uuid,
    filter: OutputFilter,
    shutdown: CancellationToken,
    permit: OpenRequestPermit,
) -> Result<impl IntoResponse + use<>, Problem> {
    let watch = RunWatch::new(&api.clock, &api.hints, id);
    runs::find(&api, caller, id).await?;
    let follower = Follower::new(api, caller, id, filter);
    let sse =
        Sse::new(events(follower, watch, shutdown, permit)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_INTERVAL));
    // Without this header nginx would buffer the lines.
    Ok(([(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))], sse))
}

fn events(
    mut follower: Follower,
    mut watch: RunWatch,
    shutdown: CancellationToken,
    permit: OpenRequestPermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let _permit = permit;
        loop {
            let round = follower.round().await;
            while let Some(event) = follower.ready.pop_front() {
                yield Ok(event);
            }
            match round {
                RoundEnd::MoreToRead => {}
                RoundEnd::RunEnded => return,
                RoundEnd::CaughtUp => tokio::select! {
                    () = watch.changed() => {}
                    () = shutdown.cancelled() => return,
                },
            }
            if shutdown.is_cancelled() {
                return;
            }
        }
    }
}

/// How a round ended.
enum RoundEnd {
    /// The next round can read more at once.
    MoreToRead,
    /// There is nothing more until the run changes.
    CaughtUp,
    /// The run has ended, and its client has everything.
    RunEnded,
}

/// The state of one stream.
struct Follower {
    api: ApiState,
    caller: Caller,
    id: Uuid,
    stage: Option<StageName>,
    /// The id of the last entry that the client has. The stream follows the attempt of this id.
    last: EntryId,
    /// The id after which the last gap was reported.
    gap_after: Option<EntryId>,
    last_event: i64,
    /// Status changes that were read and not sent yet.
    status_changes: VecDeque<RunEvent>,
    /// Whether the client had a part of this stream before, and so the status changes up to that part.
    resumes: bool,
    last_state: Option<(Status, Option<StageName>, i32)>,
    ready: VecDeque<Event>,
}

impl Follower {
    fn new(api: ApiState, caller: Caller, id: Uuid, filter: OutputFilter) -> Self {
        let beginning = EntryId { attempt: 1, number: 0 };
        let last = filter.after.filter(|after| after.attempt > 0).unwrap_or(beginning);
        Self {
            api,
            caller,
            id,
            stage: filter.stage,
            last,
            gap_after: None,
            last_event: 0,
            status_changes: VecDeque::new(),
            resumes: filter.after.is_some(),
            last_state: None,
            ready: VecDeque::new(),
        }
    }

    /// Collects the new events. If a service that the API depends on is unavailable, a later round collects them.
    async fn round(&mut self) -> RoundEnd {
        let run = match self.api.store.read_run(self.caller.organization, self.id).await {
            Ok(Some(run)) => run,
            Ok(None) => return RoundEnd::RunEnded,
            // Live output does not need Postgres; only the end of the run does.
            Err(_) => return self.live_output(self.last.attempt).await,
        };
        let current = u32::try_from(run.attempt).unwrap_or(1);
        let ended = run.status.is_terminal();
        let over = if ended { current } else { current - 1 };
        if self.read_status_changes(&run).await.is_err() {
            return RoundEnd::CaughtUp;
        }
        while self.last.attempt <= over {
            if self.close_attempt().await.is_err() {
                return RoundEnd::CaughtUp;
            }
        }
        self.push_status_changes(|_| true);
        if ended {
            self.push("end", None, &RunView::from(run));
            return RoundEnd::RunEnded;
        }
        self.live_output(current).await
    }

    /// Sends the rest of the followed attempt, which has ended, and continues with the next attempt.
    async fn close_attempt(&mut self) -> Result<(), Problem> {
        let attempt = self.last.attempt;
        for entry in read_ended_attempt(&self.api, self.id, attempt).await? {
            if entry.id() > self.last {
                self.push_status_changes(|event| precedes(event, &entry));
                self.push_entry(&entry);
            }
        }
        self.last = EntryId { attempt: attempt + 1, number: 0 };
        Ok(())
    }

    /// Sends what Redis has of `attempt`, the attempt in progress, as long as the ids continue without a gap.
    async fn live_output(&mut self, attempt: u32) -> RoundEnd {
        if self.last.attempt != attempt {
            // The client sent an id of a later attempt.
            return RoundEnd::CaughtUp;
        }
        let batch = match self.api.redis.read_output(self.id, self.last, BATCH).await {
            Ok(batch) => batch,
            Err(error) => {
                event::dependency("redis", false, &error.to_string());
                return RoundEnd::CaughtUp;
            }
        };
        let is_full = batch.len() == BATCH;
        for entry in batch {
            if entry.id().attempt != attempt {
                // A later round reads from Postgres that the attempt has ended.
                return RoundEnd::CaughtUp;
            }
            if entry.id().number != self.last.number + 1 {
                if self.gap_after != Some(self.last) {
                    self.gap_after = Some(self.last);
                    self.push("gap", None, &OutputGap { after: self.last });
                }
                return RoundEnd::CaughtUp;
            }
            self.push_entry(&entry);
        }
        if is_full { RoundEnd::MoreToRead } else { RoundEnd::CaughtUp }
    }

    /// Reads the status changes of the run since the last round.
    async fn read_status_changes(&mut self, run: &RunRow) -> Result<(), StoreError> {
        let now = (run.status, run.phase, run.attempt);
        if self.last_state == Some(now) {
            return Ok(());
        }
        loop {
            let changes = self.api.store.events_of_run(self.id, self.last_event).await?;
            let Some(newest) = changes.last() else { break };
            self.last_event = newest.id;
            // A client that resumes receives the current status, not the whole history again.
            let known = if self.resumes { changes.len() - 1 } else { 0 };
            self.resumes = false;
            self.status_changes.extend(changes.into_iter().skip(known));
        }
        self.last_state = Some(now);
        Ok(())
    }

    /// Sends the status changes that were not sent yet, as long as `due` accepts them.
    fn push_status_changes(&mut self, due: impl Fn(&RunEvent) -> bool) {
        while let Some(event) = self.status_changes.pop_front_if(|event| due(event)) {
            self.push("status", None, &StatusChange::from(&event));
        }
    }

    fn push_entry(&mut self, entry: &Entry) {
        self.last = entry.id();
        if self.stage.is_none_or(|stage| stage == entry.stage()) {
            let name = match entry {
                Entry::Output(_) => "output",
                Entry::Test(_) => "test",
            };
            self.push(name, Some(entry.id()), entry);
        }
    }

    fn push(&mut self, name: &str, id: Option<EntryId>, data: &impl Serialize) {
        let Ok(data) = serde_json::to_string(data) else { return };
        let event = Event::default().event(name).data(data);
        self.ready.push_back(match id {
            Some(id) => event.id(id.to_string()),
            None => event,
        });
    }
}

/// Whether the status changed before the run wrote `entry`. So an entry that is sent later has the same order among the
/// status changes as live output.
fn precedes(event: &RunEvent, entry: &Entry) -> bool {
    let attempt = u32::try_from(event.attempt).unwrap_or(0);
    let entered = match event.to_status {
        Status::Queued | Status::Preparing => true,
        Status::Running => event.phase <= Some(entry.stage()),
        _ => false,
    };
    attempt < entry.id().attempt || (attempt == entry.id().attempt && entered)
}
