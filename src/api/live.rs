//! Live output as Server-Sent Events.
//!
//! One stream follows one run in rounds. A round looks at the run first and at its output after
//! that, so that a run which is seen to have ended has written all that it ever will. Redis gives
//! the output of the attempt in progress; when an attempt is over, its blob gives the rest.
//!
//! What must hold: the ids that a client gets are `1-1 1-2 .. 2-1 ..` without a gap or a repetition,
//! over any number of connections, of which each names the last id that arrived. So a piece that
//! Redis lost holds back those after it until the blob has it, and the client is told of the gap:
//! to go on and bring the lost pieces later would leave nothing that `Last-Event-ID` could say.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use chrono::{DateTime, Utc};
use futures_util::Stream;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::auth::Caller;
use super::held::Held;
use super::output::{BATCH, of_ended_attempt};
use super::problem::Problem;
use super::view::RunView;
use super::wait::Watch;
use super::{ApiState, runs};
use assize_domain::output::{Entry, EntryId};
use assize_domain::run::{FailureCode, StageName, Status};
use assize_observe::event;
use assize_store::StoreError;
use assize_store::events::RunEvent;
use assize_store::runs::RunRow;

/// Silence after which a comment shows that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a client wants of a run's output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
    pub after: Option<EntryId>,
    pub stage: Option<StageName>,
}

/// The data of a `status` event.
#[derive(Serialize)]
struct Move {
    status: Status,
    phase: Option<StageName>,
    attempt: i32,
    at: DateTime<Utc>,
    failure_code: Option<FailureCode>,
}

impl From<&RunEvent> for Move {
    fn from(event: &RunEvent) -> Self {
        let RunEvent { attempt, at, to_status, phase, failure_code, .. } = *event;
        Self { status: to_status, phase, attempt, at, failure_code }
    }
}

/// The data of a `gap` event: live output after this id was lost, and comes when the attempt is over.
#[derive(Serialize)]
struct Gap {
    after: EntryId,
}

/// Follows a run until it has ended or the service stops.
pub(super) async fn follow(
    api: ApiState,
    caller: Caller,
    id: Uuid,
    filter: Filter,
    stop: CancellationToken,
    presence: Held,
) -> Result<impl IntoResponse + use<>, Problem> {
    let watch = Watch::new(&api.hints, id);
    runs::find(&api, caller, id).await?;
    let follower = Follower::new(api, caller, id, filter);
    let sse = Sse::new(events(follower, watch, stop, presence)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // nginx would gather lines until a buffer is full.
    Ok(([(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))], sse))
}

fn events(
    mut follower: Follower,
    mut watch: Watch,
    stop: CancellationToken,
    presence: Held,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        let _presence = presence;
        loop {
            let round = follower.round().await;
            while let Some(event) = follower.ready.pop_front() {
                yield Ok(event);
            }
            match round {
                Round::More => {}
                Round::Ended => return,
                Round::Quiet => tokio::select! {
                    () = watch.moved() => {}
                    () = stop.cancelled() => return,
                },
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }
}

/// What a round came to.
enum Round {
    /// There is more to read at once.
    More,
    /// Nothing more until the run moves.
    Quiet,
    /// The run has ended and its client has everything.
    Ended,
}

struct Follower {
    api: ApiState,
    caller: Caller,
    id: Uuid,
    stage: Option<StageName>,
    /// The last piece that the client has; its attempt is the one that is being followed.
    last: EntryId,
    /// Where the client was told of a gap.
    told: Option<EntryId>,
    last_event: i64,
    /// Moves that are known and not told yet.
    moves: VecDeque<RunEvent>,
    /// Whether the client had a part of this stream before, and so the moves up to then.
    resumes: bool,
    seen: Option<(Status, Option<StageName>, i32)>,
    ready: VecDeque<Event>,
}

impl Follower {
    fn new(api: ApiState, caller: Caller, id: Uuid, filter: Filter) -> Self {
        let beginning = EntryId { attempt: 1, number: 0 };
        let last = filter.after.filter(|after| after.attempt > 0).unwrap_or(beginning);
        Self {
            api,
            caller,
            id,
            stage: filter.stage,
            last,
            told: None,
            last_event: 0,
            moves: VecDeque::new(),
            resumes: filter.after.is_some(),
            seen: None,
            ready: VecDeque::new(),
        }
    }

    /// Gathers what is new. What a service behind us fails to tell comes in a later round.
    async fn round(&mut self) -> Round {
        let run = match self.api.store.read_run(self.caller.organization, self.id).await {
            Ok(Some(run)) => run,
            Ok(None) => return Round::Ended,
            // Output still comes while Postgres is away; only the end needs it.
            Err(_) => return self.live_output(self.last.attempt).await,
        };
        let current = u32::try_from(run.attempt).unwrap_or(1);
        let ended = run.status.is_terminal();
        let over = if ended { current } else { current - 1 };
        if self.read_moves(&run).await.is_err() {
            return Round::Quiet;
        }
        while self.last.attempt <= over {
            if self.close_attempt().await.is_err() {
                return Round::Quiet;
            }
        }
        self.tell_moves(|_| true);
        if ended {
            self.push("end", None, &RunView::from(run));
            return Round::Ended;
        }
        self.live_output(current).await
    }

    /// The rest of the attempt that is being followed, which is over; then the next attempt's turn.
    async fn close_attempt(&mut self) -> Result<(), Problem> {
        let attempt = self.last.attempt;
        for entry in of_ended_attempt(&self.api, self.id, attempt).await? {
            if entry.id > self.last {
                self.tell_moves(|event| comes_before(event, &entry));
                self.give(&entry);
            }
        }
        self.last = EntryId { attempt: attempt + 1, number: 0 };
        Ok(())
    }

    /// What Redis has of `attempt`, the one in progress, as far as it goes on from the last piece.
    async fn live_output(&mut self, attempt: u32) -> Round {
        if self.last.attempt != attempt {
            // A client that claims to have seen the future.
            return Round::Quiet;
        }
        let batch = match self.api.redis.read_output(self.id, self.last, BATCH).await {
            Ok(batch) => batch,
            Err(error) => {
                event::dependency("redis", false, &error.to_string());
                return Round::Quiet;
            }
        };
        let is_full = batch.len() == BATCH;
        for entry in batch {
            if entry.id.attempt != attempt {
                // Postgres will say that the attempt is over.
                return Round::Quiet;
            }
            if entry.id.number != self.last.number + 1 {
                if self.told != Some(self.last) {
                    self.told = Some(self.last);
                    self.push("gap", None, &Gap { after: self.last });
                }
                return Round::Quiet;
            }
            self.give(&entry);
        }
        if is_full { Round::More } else { Round::Quiet }
    }

    /// Reads the moves of the run since the last round.
    async fn read_moves(&mut self, run: &RunRow) -> Result<(), StoreError> {
        let now = (run.status, run.phase, run.attempt);
        if self.seen == Some(now) {
            return Ok(());
        }
        loop {
            let moves = self.api.store.events_of_run(self.id, self.last_event).await?;
            let Some(newest) = moves.last() else { break };
            self.last_event = newest.id;
            // Who resumes gets where the run is now, not all of its way again.
            let known = if self.resumes { moves.len() - 1 } else { 0 };
            self.resumes = false;
            self.moves.extend(moves.into_iter().skip(known));
        }
        self.seen = Some(now);
        Ok(())
    }

    /// Tells the moves that are not told yet, as far as `due` goes.
    fn tell_moves(&mut self, due: impl Fn(&RunEvent) -> bool) {
        while let Some(event) = self.moves.pop_front_if(|event| due(event)) {
            self.push("status", None, &Move::from(&event));
        }
    }

    fn give(&mut self, entry: &Entry) {
        self.last = entry.id;
        if self.stage.is_none_or(|stage| stage == entry.stage) {
            self.push("output", Some(entry.id), entry);
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

/// Whether a run made this move before it wrote `entry`: output that is told afterwards stands among
/// the moves as it did when it was live.
fn comes_before(event: &RunEvent, entry: &Entry) -> bool {
    let attempt = u32::try_from(event.attempt).unwrap_or(0);
    let entered = match event.to_status {
        Status::Queued | Status::Preparing => true,
        Status::Running => event.phase <= Some(entry.stage),
        _ => false,
    };
    attempt < entry.id.attempt || (attempt == entry.id.attempt && entered)
}
