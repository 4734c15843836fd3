//! The talk with one cell: its plan and archives in, its events out, its deadlines held from here.
//!
//! The warden holds the same deadlines inside. Ours come [`SLACK`] later and end what a wedged cell
//! would not. Both count from the times that the warden reports, so they are the same for a worker
//! that reads an old journal.

mod blame;
mod last_words;
mod silence;

use std::time::{Duration, Instant};

use assize_protocol::egress::{FromCell, resync};
use assize_protocol::event::{EndStatus, ResultsStatus, StageExit, Stream};
use assize_protocol::plan::Plan;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, Stop};
use super::cells::Ready;
use super::fetch::git::FIRST_WORDS;
use super::stdin::Stdin;
use crate::egress::{Rules, Tunnels};
use crate::intake::blob::BlobError;
#[cfg(doc)]
use crate::template::OnDriverFailure;
use assize_cell::stream::StreamError;
use assize_cell::{Cell, CellInput, CellOutput, Event, Role};
use assize_domain::limits::CellLimits;
use assize_domain::run::{Failure, FailureCode, StageName};
use assize_host as host;
use assize_host::clock;

/// How much later than the warden we give up on a stage: room for its grace and its report.
const SLACK: Duration = Duration::from_secs(10);

/// After its grace, a cell that was told to stop has this long to report.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One cell's side of a run.
pub struct Conversation {
    role: Role,
    id: String,
    /// The engine's word that the kernel ended a process of this cell, which was adopted.
    oom_killed: bool,
    /// How often the total of all cells had refused memory when this one said hello.
    total_hits: u64,
    /// Someone wants the run to stop.
    cancelled: CancellationToken,
    /// The cell was told to, and is heard out.
    is_stopping: bool,
    output: CellOutput,
    delivering: Option<BoxFuture<'static, (CellInput, Result<(), StreamError>)>>,
    /// The cell has all of its plan and inputs.
    is_delivered: bool,
    /// The way in; open once it has.
    stdin: Stdin,
    /// Present if any of its stages may reach something.
    tunnels: Option<Tunnels>,
    /// Events that had been heard when the stream last broke.
    broke_after: Option<u64>,
    plan: Plan,
    limits: CellLimits,
    global: Instant,
    deadline: Instant,
    /// The deadline has passed, and the cell has the time that it takes to read its journal.
    overdue: Option<FailureCode>,
    results: Vec<u8>,
    /// Bytes of results that came.
    received: u64,
    tests: Option<StageExit>,
    /// When it said hello.
    began_us: u64,
    /// A stage was started: what comes now may be the doing of the code that ran.
    has_run: bool,
    /// A driver that is interrupted is heard out: what it has written counts.
    scores_zero: bool,
    /// What interrupted it.
    interrupted: Option<Failure>,
    /// How the service ended that had been up, if it did by itself.
    went_down: Option<Failure>,
    /// Of what a fetch wrote to stderr, the beginning.
    first_words: Vec<u8>,
    /// The stage of a fetch is over; what comes is its archive, whose length and time its host decides.
    has_fetched: bool,
}

/// What a cell came to.
#[derive(Debug)]
pub struct Report {
    /// The results file as it was read.
    pub results: Vec<u8>,
    pub status: ResultsStatus,
    /// How the tests stage ended.
    pub tests: Option<StageExit>,
    /// What interrupted a driver whose template says that it then scores zero.
    pub interrupted: Option<Box<Failure>>,
    /// How the service ended that the driver was to test, if it did by itself.
    pub went_down: Option<Box<Failure>>,
}

impl Report {
    /// Of a driver that cannot be heard out any more.
    pub fn of_interrupted(failure: Failure) -> Self {
        Self {
            results: Vec::new(),
            status: ResultsStatus::Missing { reason: None },
            tests: None,
            interrupted: Some(Box::new(failure)),
            went_down: None,
        }
    }
}

/// What was heard next.
pub enum Heard {
    Event(Event),
    Delivered(CellInput, Result<(), StreamError>),
    Broken(StreamError),
    /// Nothing, until the deadline.
    Silence,
    /// Someone wants the run to stop.
    Cancelled,
}

/// What that means for the run.
pub enum Step {
    Going,
    /// The service answers; what comes next may use it.
    Ready,
    /// Of what a repository gave, which is not gathered here.
    Piece(Vec<u8>),
    Ended(Report),
}

impl Conversation {
    /// Begins to deliver the plan and its inputs; a cell of another worker has them, and is gone on with.
    pub fn begin(
        role: Role,
        ready: Ready,
        plan: Plan,
        limits: CellLimits,
        inputs: Vec<BoxStream<'static, Result<Bytes, BlobError>>>,
        rules: Rules,
        cancelled: CancellationToken,
    ) -> Self {
        let Ready { cell: Cell { id, mut input, output }, seen } = ready;
        let mut delivering: Option<BoxFuture<'static, _>> = None;
        if seen.is_none()
            && let Some(mut input) = input.take()
        {
            let sent = plan.clone();
            delivering = Some(Box::pin(async move {
                let delivered = input.deliver(&sent, inputs).await;
                (input, delivered)
            }));
        }
        let global = clock::monotonic() + Duration::from_millis(plan.global_timeout_ms) + SLACK;
        let stdin = Stdin::new();
        let mut conversation = Self {
            role,
            id,
            oom_killed: seen.is_some_and(|seen| seen.oom_killed),
            total_hits: u64::MAX,
            cancelled,
            is_stopping: false,
            output,
            is_delivered: seen.is_some(),
            delivering,
            // The first stage may ask for something before we know that all was delivered.
            tunnels: (!rules.is_empty()).then(|| Tunnels::new(rules, stdin.frames(), 0)),
            stdin,
            broke_after: None,
            plan,
            limits,
            global,
            deadline: global,
            overdue: None,
            results: Vec::new(),
            received: 0,
            tests: None,
            began_us: u64::MAX,
            has_run: false,
            scores_zero: false,
            interrupted: None,
            went_down: None,
            first_words: Vec::new(),
            has_fetched: false,
        };
        if seen.is_some() {
            conversation.enter_again(input);
        }
        conversation
    }

    /// What interrupts this driver is no failure: see [`OnDriverFailure::ScoreZero`].
    pub fn scoring_zero(mut self, scores_zero: bool) -> Self {
        self.scores_zero = scores_zero;
        self
    }

    /// There is another way in, or none: what went through the one before is over.
    fn enter_again(&mut self, input: Option<CellInput>) {
        // Before anything is sent: what the cell asks for from here on is ours to answer.
        let since_us = host::monotonic_us();
        self.stdin = Stdin::new();
        if let Some(tunnels) = &mut self.tunnels {
            tunnels.renew(self.stdin.frames(), since_us);
        }
        if let Some(input) = input {
            self.stdin.open(input, if self.tunnels.is_some() { resync() } else { Vec::new() });
        }
    }

    /// What is heard next. Cancelling this loses nothing. What the cell has said outranks a deadline
    /// that passed while nobody listened.
    pub async fn next(&mut self) -> Heard {
        let delivering = async {
            match &mut self.delivering {
                Some(delivering) => delivering.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancelled.cancelled(), if !self.is_stopping => Heard::Cancelled,
            event = self.output.next() => event.map_or_else(Heard::Broken, Heard::Event),
            (input, delivered) = delivering => {
                self.delivering = None;
                Heard::Delivered(input, delivered)
            }
            () = tokio::time::sleep_until(self.deadline.into()) => Heard::Silence,
        }
    }

    /// Takes in what was heard: writes down output and phase, and ends the run if it must end.
    pub async fn take(&mut self, attempt: &mut Attempt<'_>, heard: Heard) -> Result<Step, Stop> {
        match heard {
            Heard::Delivered(input, Ok(())) => {
                self.is_delivered = true;
                self.stdin.open(input, Vec::new());
            }
            Heard::Delivered(_, Err(error @ StreamError::Archive(_))) => return Err(error.into()),
            // The cell went away in the middle; what it says on its way out tells why.
            Heard::Delivered(_, Err(_)) => {}
            Heard::Cancelled => return self.stop().map(|()| Step::Going),
            Heard::Broken(_) | Heard::Silence if self.is_stopping => return Err(Stop::cancelled()),
            Heard::Broken(error) => return self.broken(attempt, error).await.map(|()| Step::Going),
            Heard::Silence => return self.overdue(attempt).await.map(|()| Step::Going),
            Heard::Event(event) => {
                let step = self.event(attempt, event).await;
                return match step {
                    Ok(Step::Ended(_)) | Err(Stop::Failed(_)) if self.is_stopping => Err(Stop::cancelled()),
                    step => step,
                };
            }
        }
        Ok(Step::Going)
    }

    /// Someone wants the run to stop: its processes get TERM, their grace, and are heard out.
    fn stop(&mut self) -> Result<(), Stop> {
        self.is_stopping = true;
        self.deadline = clock::monotonic() + Duration::from_millis(self.plan.grace_ms) + LAST_WORDS;
        // One that is not running, or does not have all of its plan, has nothing to say.
        if !self.stdin.is_open() {
            return Err(Stop::cancelled());
        }
        self.stdin.finish();
        Ok(())
    }

    /// How long is left of `limit` for what began at `at_us`.
    fn until(at_us: u64, limit: Duration) -> Instant {
        clock::monotonic() + limit.saturating_sub(clock::since_us(at_us))
    }

    /// One that is stopping has a deadline already. What the journal brings late has its own.
    fn hold(&mut self, deadline: Instant) {
        if !self.is_stopping {
            self.overdue = None;
            self.deadline = deadline;
        }
    }

    async fn event(&mut self, attempt: &mut Attempt<'_>, event: Event) -> Result<Step, Stop> {
        match event {
            Event::Hello(hello) => {
                self.began_us = hello.at_us;
                self.total_hits = attempt.worker.cgroups.total_hits();
                let global = Duration::from_millis(self.plan.global_timeout_ms);
                self.global = Self::until(hello.at_us, global + SLACK);
                self.hold(self.global);
            }
            Event::StageStarted(started) => {
                self.has_run = true;
                let (stage, timeout) = self.stage(started.stage)?;
                self.hold(Self::until(started.at_us, timeout + SLACK).min(self.global));
                attempt.enter(stage).await?;
            }
            Event::StageReady(_) => {
                self.hold(self.global);
                return Ok(Step::Ready);
            }
            Event::Output(output) => {
                let (stage, _) = self.stage(output.stage)?;
                if self.role == Role::Fetch && output.stream == Stream::Stderr {
                    let room = FIRST_WORDS.saturating_sub(self.first_words.len()).min(output.bytes.len());
                    self.first_words.extend_from_slice(output.bytes.get(..room).unwrap_or_default());
                }
                attempt.output.push(stage, output);
            }
            Event::Tunnel(said) => self.tunnel(attempt, said).await?,
            Event::StageEnded(ended) => {
                if let Some(tunnels) = &mut self.tunnels {
                    tunnels.end_stage().await;
                }
                self.record_egress(attempt).await?;
                let next = ended.stage.saturating_add(1);
                self.stage_ended(attempt, ended).await?;
                if self.role == Role::Fetch {
                    self.has_fetched = true;
                }
                // The next stage waits for its tests to be unpacked, on no stage's time; so does what a fetch sends.
                if self.has_fetched || self.plan.inputs.iter().any(|input| input.before == Some(next)) {
                    self.hold(self.global);
                }
            }
            Event::Results(piece) => {
                let most = self.plan.results.as_ref().map_or(0, |file| file.max_bytes);
                self.received += piece.len() as u64;
                if self.received > most {
                    return Err(Stop::Failed(Failure::new(
                        FailureCode::CellLost,
                        "the cell sent more results than allowed",
                    )));
                }
                if self.role == Role::Fetch {
                    return Ok(Step::Piece(piece));
                }
                self.results.extend_from_slice(&piece);
            }
            Event::End(end) => {
                return match end.status {
                    EndStatus::Done => Ok(Step::Ended(Report {
                        results: std::mem::take(&mut self.results),
                        status: end.results,
                        tests: self.tests.take(),
                        interrupted: self.interrupted.take().map(Box::new),
                        went_down: self.take_went_down(),
                    })),
                    status => Err(Stop::Failed(self.refused(status, end.at_us))),
                };
            }
        }
        Ok(Step::Going)
    }

    async fn tunnel(&mut self, attempt: &Attempt<'_>, said: FromCell) -> Result<(), Stop> {
        /// Connections that one event lists.
        const PAGE: usize = 50;
        let Some(tunnels) = &mut self.tunnels else { return Ok(()) };
        tunnels.hear(said);
        if tunnels.pending() >= PAGE { self.record_egress(attempt).await } else { Ok(()) }
    }

    async fn record_egress(&mut self, attempt: &Attempt<'_>) -> Result<(), Stop> {
        match self.tunnels.as_ref().and_then(Tunnels::take_recorded) {
            Some(recorded) => attempt.record_egress(&recorded).await,
            None => Ok(()),
        }
    }

    fn stage(&self, number: u8) -> Result<(StageName, Duration), Stop> {
        let unknown = || Stop::Failed(Failure::new(FailureCode::CellLost, format!("the cell names a stage {number}")));
        let stage = self.plan.stages.get(usize::from(number)).ok_or_else(unknown)?;
        Ok((stage.name.parse().map_err(|_| unknown())?, Duration::from_millis(stage.timeout_ms)))
    }

    /// How its service ended, if it had been up and ended by itself.
    pub fn take_went_down(&mut self) -> Option<Box<Failure>> {
        self.went_down.take().map(Box::new)
    }
}
