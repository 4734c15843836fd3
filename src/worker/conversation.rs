//! The talk with one cell: its plan and archives in, its events out, its deadlines held from here.
//!
//! The warden holds the same deadlines inside. Ours come [`SLACK`] later and end what a wedged cell
//! would not. Both count from the times that the warden reports, so they are the same for a worker
//! that reads an old journal.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use warden::event::{EndStatus, ResultsStatus, StageEnded, StageExit};
use warden::plan::Plan;

use super::attempt::{Attempt, Stop};
use super::cells::Ready;
use crate::cell::stream::StreamError;
use crate::cell::{Cell, CellInput, CellOutput, EngineError, Event, Role};
use crate::clock;
use crate::intake::blob::BlobError;
use crate::observe::metrics;
use crate::run::outcome::{StageLimits, stage_failure};
use crate::run::{Cause, Failure, FailureCode, StageName};
use crate::template::Limits;

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
    input: Option<CellInput>,
    /// Events that had been heard when the stream last broke.
    broke_after: Option<u64>,
    plan: Plan,
    limits: Limits,
    global: Instant,
    deadline: Instant,
    /// The deadline has passed, and the cell has the time that it takes to read its journal.
    overdue: Option<FailureCode>,
    results: Vec<u8>,
    tests: Option<StageExit>,
}

/// What a cell came to.
#[derive(Debug)]
pub struct Report {
    /// The results file as it was read.
    pub results: Vec<u8>,
    pub status: ResultsStatus,
    /// How the tests stage ended.
    pub tests: Option<StageExit>,
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
    Ended(Report),
}

impl Conversation {
    /// Begins to deliver the plan and its inputs; a cell of another worker has them, and is gone on with.
    pub fn begin(
        role: Role,
        ready: Ready,
        plan: Plan,
        limits: Limits,
        inputs: Vec<BoxStream<'static, Result<Bytes, BlobError>>>,
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
        Self {
            role,
            id,
            oom_killed: seen.is_some_and(|seen| seen.oom_killed),
            total_hits: u64::MAX,
            cancelled,
            is_stopping: false,
            output,
            is_delivered: seen.is_some(),
            delivering,
            input,
            broke_after: None,
            plan,
            limits,
            global,
            deadline: global,
            overdue: None,
            results: Vec::new(),
            tests: None,
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
            Heard::Delivered(input, Ok(())) => (self.input, self.is_delivered) = (Some(input), true),
            Heard::Delivered(_, Err(error @ StreamError::Archive(_))) => return Err(error.into()),
            // The cell went away in the middle; what it says on its way out tells why.
            Heard::Delivered(_, Err(_)) => {}
            Heard::Cancelled => return self.stop().await.map(|()| Step::Going),
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

    /// The stream broke, but the cell may be as well as before: its journal has what was missed. A
    /// stream that breaks again before anything new was heard has ended.
    async fn broken(&mut self, attempt: &Attempt<'_>, error: StreamError) -> Result<(), Stop> {
        /// An engine that restarts takes seconds, and takes its cells with it.
        const PATIENCE: Duration = Duration::from_secs(10);
        const PAUSE: Duration = Duration::from_millis(500);
        let heard = self.output.heard;
        let may_go_on = matches!(error, StreamError::Broken(_) | StreamError::Ended)
            && self.is_delivered
            && self.broke_after.is_none_or(|before| before < heard);
        let begun = clock::monotonic();
        while begun.elapsed() < PATIENCE && may_go_on {
            match attempt.worker.engine.resume(&self.id).await {
                Ok((Cell { input, output, .. }, seen)) => {
                    tracing::debug!(cell = self.id, heard, %error, "the stream of a cell broke and was taken up again");
                    (self.input, self.output, self.broke_after) = (input, output.after(heard), Some(heard));
                    self.oom_killed |= seen.oom_killed;
                    return Ok(());
                }
                Err(EngineError::Unavailable { .. }) => tokio::time::sleep(PAUSE).await,
                Err(_) => break,
            }
        }
        Err(self.lost(attempt, error).await)
    }

    /// Someone wants the run to stop: its processes get TERM, their grace, and are heard out.
    async fn stop(&mut self) -> Result<(), Stop> {
        self.is_stopping = true;
        self.deadline = clock::monotonic() + Duration::from_millis(self.plan.grace_ms) + LAST_WORDS;
        match &mut self.input {
            // One that is not running, or does not have all of its plan, has nothing to say.
            None => Err(Stop::cancelled()),
            Some(input) => input.finish().await.map_err(|_| Stop::cancelled()),
        }
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
                self.total_hits = attempt.worker.cgroups.total_hits();
                let global = Duration::from_millis(self.plan.global_timeout_ms);
                self.global = Self::until(hello.at_us, global + SLACK);
                self.hold(self.global);
            }
            Event::StageStarted(started) => {
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
                attempt.output.push(stage, output);
            }
            Event::StageEnded(ended) => self.stage_ended(attempt, ended)?,
            Event::Results(piece) => {
                let most = self.plan.results.as_ref().map_or(0, |file| file.max_bytes);
                if self.results.len() as u64 + piece.len() as u64 > most {
                    return Err(Stop::Failed(Failure::new(
                        FailureCode::CellLost,
                        "the cell sent more results than allowed",
                    )));
                }
                self.results.extend_from_slice(&piece);
            }
            Event::End(end) => {
                return match end.status {
                    EndStatus::Done => Ok(Step::Ended(Report {
                        results: std::mem::take(&mut self.results),
                        status: end.results,
                        tests: self.tests.take(),
                    })),
                    status => Err(Stop::Failed(self.refused(status))),
                };
            }
        }
        Ok(Step::Going)
    }

    fn stage_ended(&mut self, attempt: &mut Attempt<'_>, ended: StageEnded) -> Result<(), Stop> {
        let (stage, timeout) = self.stage(ended.stage)?;
        attempt.output.end_stage(stage);
        let mut counters = attempt.worker.cgroups.read(&self.id);
        // A cell that was adopted after its end has no cgroup any more; the warden had read it.
        counters.oom_kills = counters.oom_kills.max(ended.oom_kills);
        counters.memory_limit_hits = counters.memory_limit_hits.max(ended.memory_limit_hits);
        counters.total_was_hit = attempt.worker.cgroups.total_hits() > self.total_hits;
        if counters.memory_limit_hits.is_none() {
            // The engine's word is the last resort: it says so of every cell when all are at their total.
            counters.oom_kills = counters.oom_kills.max(self.oom_killed.into());
        }
        counters.pids_refused = counters.pids_refused.max(ended.pids_refused);
        metrics().oom_kills.inc_by(counters.oom_kills);
        let limits = StageLimits {
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            global_timeout_ms: self.plan.global_timeout_ms,
            memory_bytes: self.limits.memory_mib << 20,
            pids: self.limits.pids,
            output_bytes: self.plan.stages.get(usize::from(ended.stage)).map_or(0, |stage| stage.output.limit),
        };
        if let Some(mut failure) = stage_failure(stage, &ended, counters, limits) {
            // A service that was up and went down: the tests show what that cost.
            let went_down = ended.ready && failure.code == FailureCode::StartFailed;
            if !went_down {
                failure.evidence.last_output = attempt.output.last_lines(stage);
                return Err(Stop::Failed(self.blame(failure)));
            }
        }
        if stage == StageName::Tests {
            self.tests = Some(ended.exit);
        }
        Ok(())
    }

    /// In the driver's cell only time can be the project's fault: the rest is the grader's own code.
    fn blame(&self, mut failure: Failure) -> Failure {
        let time = matches!(failure.code, FailureCode::StageTimeout | FailureCode::GlobalTimeout);
        let is_ours = failure.code.cause() == Cause::Infrastructure;
        if self.role == Role::Driver && !time && !is_ours {
            failure.evidence.message = format!("the driver failed: {}", failure.evidence.message);
            failure.code = FailureCode::DriverFailed;
        }
        failure
    }

    fn refused(&self, status: EndStatus) -> Failure {
        // The first input of a subject is the project; all others are ours.
        let project = |input: u8| self.role == Role::Subject && input == 0;
        match status {
            EndStatus::Rejected { input, reason } if project(input) => {
                Failure::new(FailureCode::ArchiveRejected, reason)
            }
            EndStatus::Rejected { reason, .. } => {
                Failure::new(FailureCode::TemplateInvalid, format!("the tests could not be unpacked: {reason}"))
            }
            EndStatus::DiskFull { input, path } if project(input) => Failure::new(
                FailureCode::OutOfDisk,
                format!("the archive does not fit into {path} ({} MiB)", self.limits.workspace_mib),
            ),
            EndStatus::DiskFull { path, .. } => {
                Failure::new(FailureCode::TemplateInvalid, format!("the tests do not fit into {path}"))
            }
            EndStatus::Done => Failure::new(FailureCode::CellLost, "the cell ended"),
            EndStatus::Fault { error } => Failure::new(FailureCode::CellLost, error),
        }
    }

    /// The stream ended without a report: the engine may know why.
    async fn lost(&mut self, attempt: &Attempt<'_>, error: StreamError) -> Stop {
        let state = attempt.worker.engine.inspect(&self.id).await.ok().and_then(|seen| seen.state);
        if state.is_some_and(|state| state.oom_killed == Some(true)) {
            metrics().oom_kills.inc();
            let mib = self.limits.memory_mib;
            if attempt.worker.cgroups.total_hits() > self.total_hits {
                let message = format!("the host had no more memory for all cells, and ended one below its {mib} MiB");
                return Stop::Failed(Failure::new(FailureCode::CellLost, message));
            }
            let message = format!("the cell used more than its {mib} MiB of memory and the kernel ended it");
            return Stop::Failed(self.blame(Failure::new(FailureCode::OutOfMemory, message)));
        }
        error.into()
    }

    /// Our deadline passed and the warden did not say that its own had. Before the project is blamed,
    /// the journal is asked: it may be the stream that is stuck, and not the cell.
    async fn overdue(&mut self, attempt: &Attempt<'_>) -> Result<(), Stop> {
        let failed = |code, message: &str| Err(Stop::Failed(Failure::new(code, message)));
        if !self.is_delivered {
            return failed(FailureCode::CellLost, "the cell did not take its project in");
        }
        if let Some(code) = self.overdue {
            return failed(code, "the cell did not stop at its time limit and was destroyed");
        }
        let is_global = self.deadline >= self.global;
        self.overdue = Some(if is_global { FailureCode::GlobalTimeout } else { FailureCode::StageTimeout });
        let heard = self.output.heard;
        let (Cell { input, output, .. }, seen) = attempt.worker.engine.resume(&self.id).await?;
        (self.input, self.output) = (input, output.after(heard));
        self.oom_killed |= seen.oom_killed;
        self.deadline = clock::monotonic() + LAST_WORDS;
        Ok(())
    }

    fn stage(&self, number: u8) -> Result<(StageName, Duration), Stop> {
        let unknown = || Stop::Failed(Failure::new(FailureCode::CellLost, format!("the cell names a stage {number}")));
        let stage = self.plan.stages.get(usize::from(number)).ok_or_else(unknown)?;
        Ok((stage.name.parse().map_err(|_| unknown())?, Duration::from_millis(stage.timeout_ms)))
    }

    /// Tells the cell to stop and hears it out, for a moment: the last of its output may be waiting.
    pub async fn hear_out(&mut self, attempt: &mut Attempt<'_>) {
        /// A service that obeys TERM is gone in milliseconds; for others the verdict does not wait.
        const MOMENT: Duration = Duration::from_millis(500);
        let Some(mut input) = self.input.take() else { return };
        let last = async {
            input.finish().await.ok()?;
            while let Ok(event) = self.output.next().await {
                match event {
                    Event::Output(output) => {
                        let (stage, _) = self.stage(output.stage).ok()?;
                        attempt.output.push(stage, output);
                    }
                    Event::End(_) => break,
                    _ => {}
                }
            }
            Some(())
        };
        tokio::time::timeout(MOMENT, last).await.ok();
    }
}
