//! The session with one cell: the worker sends it a plan and archives, receives its events, and enforces its
//! deadlines from outside.
//!
//! The warden enforces the same deadlines inside the cell. The worker's deadlines come [`deadline::SLACK`] later and end a
//! cell that does not react any more. Both count from the times that the warden reports, so they are the same for a
//! worker that reads the journal of an adopted cell.
//!
//! A session moves through the phases of [`Phase`]. What differs between the cells of a run (whether a broken
//! stream may be resumed, whose fault a failure is) is decided by a [`SessionPolicy`].

mod artifacts;
mod deadline;
mod drain;
mod events;
mod failure;
mod phase;
mod policy;
mod progress;
mod reconnect;
mod report;

use std::time::Instant;

use assize_cell::stream::StreamError;
use assize_cell::{Cell, CellInput, CellOutput, Event};
use assize_domain::limits::CellLimits;
use assize_domain::run::Failure;
use assize_host::clock::Clock;
use assize_protocol::event::StageExit;
use assize_protocol::exec::Secret;
use assize_protocol::plan::Plan;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use self::deadline::STOP_TIMEOUT;
use super::attempt::Attempt;
use super::cells::StartedCell;
use super::stdin::Stdin;
use super::stop::Stop;
use crate::egress::{Rules, Tunnels};
use crate::intake::blob::BlobError;
use phase::Phase;
pub use policy::{DriverPolicy, FailureContext, RejectionContext, SessionPolicy, SubjectPolicy};
pub use progress::ReportedTests;
pub use report::{CellReport, ReceivedFile};

/// The worker's side of one cell.
pub struct CellSession {
    policy: Box<dyn SessionPolicy>,
    phase: Phase,
    id: String,
    plan: Plan,
    limits: CellLimits,
    /// Cancelled when somebody asks for the run to be cancelled.
    cancelled: CancellationToken,
    output: CellOutput,
    /// The way into the cell. It is open once the cell has its plan and inputs.
    stdin: Stdin,
    /// Present if any stage of the plan may reach something.
    tunnels: Option<Tunnels>,
    /// The number of events that had been received when the stream last broke.
    last_break: Option<u64>,
    /// When the whole plan must have ended.
    global_deadline: Instant,
    /// When the next event must have come.
    deadline: Instant,
    observed: Observations,
    /// The results so far.
    results: Vec<u8>,
    /// The files that the results are of, if the plan names them by a pattern.
    results_files: Vec<ReceivedFile>,
    /// Bytes of results that were received.
    results_received: u64,
    /// Bytes of output.
    output_received: u64,
    /// Artifacts that began, and bytes of them.
    artifacts_received: (u32, u64),
    /// Bytes of lines about tests.
    progress_received: u64,
    /// When the stage began that may report tests, in µs of the cell's clock.
    tests_began_us: u64,
    /// What the tests have reported so far.
    reported: ReportedTests,
}

/// What a session has observed of its cell.
struct Observations {
    /// The engine reported of an adopted cell that the kernel had killed a process of it for memory.
    oom_killed: bool,
    /// How often the total of all cells had refused memory when this cell sent its hello.
    total_hits: u64,
    /// The time of the cell's hello.
    began_us: u64,
    /// A stage failed, so that the warden ends the plan by itself.
    has_failed: bool,
    /// A stage has started, so the code that ran may have caused whatever comes after.
    has_run: bool,
    /// How the tests stage ended.
    tests: Option<StageExit>,
    /// What interrupted a cell whose policy tolerates the interruption.
    interrupted: Option<Failure>,
    /// How a service ended by itself after it had been ready.
    went_down: Option<Failure>,
    /// What a cell that serves calls has reported for the driver's.
    secret: Option<Secret>,
}

/// The next thing that happened in a session.
pub enum SessionEvent {
    Event(Event),
    Delivered(CellInput, Result<(), StreamError>),
    Broken(StreamError),
    /// Nothing was received until the deadline.
    DeadlineElapsed,
    /// Somebody asked for the run to be cancelled.
    Cancelled,
}

/// What an event means for the run.
pub enum SessionProgress {
    Continue,
    /// The service answers: a stage or cell that needs it may start.
    Ready,
    /// A piece of the results, of a cell whose policy forwards them.
    ResultsPiece(Vec<u8>),
    Ended(CellReport),
}

impl CellSession {
    /// Starts to deliver the plan and its inputs. An adopted cell has them already, and the session resumes it.
    pub fn begin(
        policy: impl SessionPolicy + 'static,
        started: StartedCell,
        plan: Plan,
        limits: CellLimits,
        inputs: Vec<BoxStream<'static, Result<Bytes, BlobError>>>,
        rules: Rules,
        attempt: &Attempt<'_>,
    ) -> Self {
        let StartedCell { cell: Cell { id, input, output }, adopted } = started;
        let (phase, resumed_input) = match (adopted, input) {
            (None, Some(input)) => (Phase::deliver(input, plan.clone(), inputs), None),
            (None, None) => (Phase::Undelivered, None),
            (Some(_), input) => (Phase::Running, input),
        };
        let global_deadline = attempt.worker.clock.monotonic() + deadline::outside(&plan);
        let stdin = Stdin::new();
        let mut session = Self {
            policy: Box::new(policy),
            phase,
            id,
            limits,
            cancelled: attempt.cancelled.clone(),
            output,
            // The first stage may ask for a connection before the worker notices that all inputs were delivered.
            tunnels: (!rules.is_empty()).then(|| Tunnels::new(rules, stdin.frames(), 0)),
            stdin,
            last_break: None,
            plan,
            global_deadline,
            deadline: global_deadline,
            observed: Observations {
                oom_killed: adopted.is_some_and(|adopted| adopted.oom_killed),
                total_hits: u64::MAX,
                began_us: u64::MAX,
                has_failed: false,
                has_run: false,
                tests: None,
                interrupted: None,
                went_down: None,
                secret: None,
            },
            results: Vec::new(),
            results_files: Vec::new(),
            results_received: 0,
            output_received: 0,
            artifacts_received: (0, 0),
            progress_received: 0,
            tests_began_us: 0,
            reported: ReportedTests::default(),
        };
        if adopted.is_some() {
            session.reopen(&attempt.worker.clock, resumed_input);
        }
        session
    }

    /// Uses another way into the cell, if there is one. Connections that used the way before are over.
    fn reopen(&mut self, clock: &Clock, input: Option<CellInput>) {
        // Read before anything is sent: requests of the cell after this time are this session's to answer.
        let since_us = clock.now_us();
        self.stdin = Stdin::new();
        if let Some(tunnels) = &mut self.tunnels {
            tunnels.renew(self.stdin.frames(), since_us);
        }
        if let Some(input) = input {
            self.stdin.open(input, if self.tunnels.is_some() { assize_protocol::egress::resync() } else { Vec::new() });
        }
    }

    /// Waits for the next event. Cancelling this call loses nothing. An event of the cell takes precedence over a
    /// deadline that passed while nobody called this.
    pub async fn next(&mut self) -> SessionEvent {
        let is_stopping = matches!(self.phase, Phase::Stopping);
        tokio::select! {
            biased;
            () = self.cancelled.cancelled(), if !is_stopping => SessionEvent::Cancelled,
            event = self.output.next() => event.map_or_else(SessionEvent::Broken, SessionEvent::Event),
            (input, delivered) = self.phase.delivered() => {
                self.phase = Phase::Undelivered;
                SessionEvent::Delivered(input, delivered)
            }
            () = tokio::time::sleep_until(self.deadline.into()) => SessionEvent::DeadlineElapsed,
        }
    }

    /// Handles an event: logs output, records the stage of the run, and ends the run if it must end.
    pub async fn handle(&mut self, attempt: &mut Attempt<'_>, event: SessionEvent) -> Result<SessionProgress, Stop> {
        let is_stopping = matches!(self.phase, Phase::Stopping);
        match event {
            SessionEvent::Delivered(input, Ok(())) => {
                self.phase = Phase::Running;
                self.stdin.open(input, Vec::new());
            }
            SessionEvent::Delivered(_, Err(error @ StreamError::Archive(_))) => return Err(error.into()),
            // The cell ended during the delivery; its last events show why.
            SessionEvent::Delivered(_, Err(_)) => {}
            SessionEvent::Cancelled => self.stop(attempt)?,
            SessionEvent::Broken(_) | SessionEvent::DeadlineElapsed if is_stopping => return Err(Stop::cancelled()),
            SessionEvent::Broken(error) => self.reconnect(attempt, error).await?,
            SessionEvent::DeadlineElapsed => self.deadline_elapsed(attempt).await?,
            SessionEvent::Event(event) => {
                return match self.handle_event(attempt, event).await {
                    Ok(SessionProgress::Ended(_)) | Err(Stop::Failed(_)) if is_stopping => Err(Stop::cancelled()),
                    progress => progress,
                };
            }
        }
        Ok(SessionProgress::Continue)
    }

    /// Stops the cell because somebody asked for a cancel: its processes get TERM and their grace, and the session
    /// receives the rest of its events.
    fn stop(&mut self, attempt: &Attempt<'_>) -> Result<(), Stop> {
        // A cell that is not running, or does not have its whole plan, has nothing to report.
        if !self.stdin.is_open() {
            return Err(Stop::cancelled());
        }
        self.phase = Phase::Stopping;
        self.deadline = attempt.worker.clock.monotonic() + deadline::grace(&self.plan) + STOP_TIMEOUT;
        self.stdin.finish();
        Ok(())
    }

    /// Whether a stage has failed in a way that fails the run.
    pub const fn has_failed(&self) -> bool {
        self.observed.has_failed
    }

    /// Whether this failure only interrupts the cell: its report counts as far as it came.
    pub fn tolerates(&self, failure: &Failure) -> bool {
        self.policy.tolerates(failure)
    }

    /// What the driver's warden must know to call programs of this cell, if it serves calls.
    pub fn take_secret(&mut self) -> Option<Secret> {
        self.observed.secret.take()
    }

    /// How the service of this cell ended, if it had been ready and ended by itself.
    pub fn take_went_down(&mut self) -> Option<Box<Failure>> {
        self.observed.went_down.take().map(Box::new)
    }
}
