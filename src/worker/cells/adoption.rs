//! Adopting the cells that another worker launched for the same attempt.
//!
//! Adoption has three steps: it finds the cells by their labels, decides without I/O whether the run can continue in
//! them ([`decide_subject`], [`decide_driver`]), and acts on the decision.

use assize_cell::Role;
use assize_cell::berth::berth_of;
use assize_cell::spec::{LABEL_CELL, LABEL_PLAN, LABEL_PROCESSORS};
use assize_domain::run::retry::MAX_CRASHES;
use assize_domain::run::{FailureCode, StageName, Status};
use assize_protocol::plan::Plan;

use super::launch::CellRequest;
use super::{Cells, StartedCell, plan_fingerprint};
use crate::admission::Resumed;
use crate::template::Template;
use crate::worker::attempt::Attempt;
use crate::worker::plan;
use crate::worker::stop::Stop;

/// A cell that another worker launched.
#[derive(Debug)]
pub struct FoundCell {
    id: String,
    fingerprint: String,
    processors: String,
}

/// The cells of an attempt that another worker launched. The driver's cell is stored in `Cells::adopted_driver`.
#[derive(Debug, Default)]
struct FoundCells {
    subject: Option<FoundCell>,
    fetch: Option<FoundCell>,
}

/// What is known of one cell of an adopted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellState {
    /// The cell is gone, or was never launched.
    Missing,
    /// No stage has started in the cell.
    NotBegun,
    /// A stage has started in the cell. `is_current` says whether its plan and template are this worker's.
    Begun { is_current: bool },
}

/// What is known of an adopted run when its subject is needed.
#[derive(Debug, Clone, Copy)]
struct SubjectFacts {
    subject: CellState,
    /// The row of the run says that its first stage had begun.
    had_begun: bool,
    /// The last worker died while it drove the run.
    crashed: bool,
    /// The number of workers that died while they drove the run.
    crashes: i32,
}

/// What to do with the cell of an adopted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// The run continues in the cell.
    Resume,
    /// Nothing has begun: cells are removed, and the attempt launches a new one.
    LaunchAnew,
    /// The attempt is over, and fails as `worker_lost` for this reason.
    Fail(&'static str),
    /// The attempt is over: the run may be what kills workers.
    CrashLimit,
}

const SUBJECT_LOST: &str = "its worker was lost, and its cell too";
const SUBJECT_NOT_BEGUN: &str = "its worker was lost before the first stage";
const SUBJECT_JUST_BEGUN: &str = "its worker was lost while the first stage began";
const TEMPLATE_CHANGED: &str = "its worker was lost, and the template has changed since";
const DRIVER_LOST: &str = "its worker was lost, and the cell of its tests too";
const DRIVER_JUST_BEGUN: &str = "its worker was lost while the tests began";
const TESTS_CHANGED: &str = "its worker was lost, and the tests have changed since";

/// Decides about the subject's cell. If nothing had begun, this attempt may still begin, unless the last worker died:
/// then the run may be what kills workers, and a new attempt is counted.
const fn decide_subject(facts: SubjectFacts) -> Decision {
    let SubjectFacts { subject, had_begun, crashed, crashes } = facts;
    if crashes >= MAX_CRASHES {
        return Decision::CrashLimit;
    }
    match subject {
        CellState::Begun { is_current: true } => Decision::Resume,
        CellState::Begun { is_current: false } => Decision::Fail(TEMPLATE_CHANGED),
        CellState::Missing | CellState::NotBegun if had_begun => Decision::Fail(SUBJECT_LOST),
        CellState::Missing | CellState::NotBegun if crashed => Decision::Fail(SUBJECT_NOT_BEGUN),
        CellState::Missing | CellState::NotBegun => Decision::LaunchAnew,
    }
}

/// Decides about the driver's cell. Tests that had begun in a cell that is gone cannot begin again: they would run
/// against a subject that was tested in part.
const fn decide_driver(driver: CellState, tests_had_begun: bool) -> Decision {
    match driver {
        CellState::Begun { is_current: true } => Decision::Resume,
        CellState::Begun { is_current: false } => Decision::Fail(TESTS_CHANGED),
        CellState::NotBegun => Decision::LaunchAnew,
        CellState::Missing if tests_had_begun => Decision::Fail(DRIVER_LOST),
        CellState::Missing => Decision::LaunchAnew,
    }
}

impl Cells<'_> {
    /// Adopts the subject's cell of another worker. `None` if nothing had begun, so that it may begin here.
    pub(super) async fn adopt(&mut self, attempt: &Attempt<'_>, resumed: Resumed) -> Result<Option<StartedCell>, Stop> {
        let found = self.find().await?;
        let crashes = attempt.claim.crashes;
        if crashes < MAX_CRASHES
            && let Some(FoundCell { id, .. }) = &found.fetch
        {
            // The submission has its archive, so the cell that fetched it is no longer needed.
            self.worker.store.confirm_lease(self.lease).await?;
            self.remove(id).await?;
        }
        let had_begun = resumed.status != Status::Preparing;
        let subject = match &found.subject {
            Some(cell) if crashes < MAX_CRASHES => self.subject_state(attempt, cell, had_begun).await?,
            _ => CellState::Missing,
        };
        let facts = SubjectFacts { subject, had_begun, crashed: resumed.crashed, crashes };
        match (decide_subject(facts), found.subject) {
            (Decision::Resume, Some(cell)) => {
                let template = &*attempt.template()?;
                self.resume(Role::Subject, &cell, template.limits.cpus).await.map(Some)
            }
            (Decision::LaunchAnew, _) => self.remove_unbegun().await.map(|()| None),
            (Decision::Resume, None) => Err(Stop::failed(FailureCode::WorkerLost, SUBJECT_LOST)),
            (Decision::Fail(reason), _) => Err(Stop::failed(FailureCode::WorkerLost, reason)),
            (Decision::CrashLimit, _) => Err(crash_limit_reached(crashes)),
        }
    }

    /// Returns the driver's cell, beside the subject: the one that another worker launched, if its tests have begun,
    /// or a new one. If the tests had begun in a cell that is gone, the attempt is over.
    pub async fn driver(
        &mut self,
        attempt: &Attempt<'_>,
        template: &Template,
        plan: &Plan,
    ) -> Result<StartedCell, Stop> {
        let Some(driver) = &template.driver else {
            return Err(Stop::failed(FailureCode::TemplateInvalid, "the template has no driver"));
        };
        let fingerprint = plan_fingerprint(template, plan);
        let found = self.adopted_driver.take();
        let state = match &found {
            None => CellState::Missing,
            Some(cell) if self.worker.engine.has_begun(&cell.id).await? => {
                CellState::Begun { is_current: cell.fingerprint == fingerprint }
            }
            Some(_) => CellState::NotBegun,
        };
        let tests_had_begun = attempt.resumed.is_some_and(|resumed| resumed.phase >= Some(StageName::Tests));
        match (decide_driver(state, tests_had_begun), found) {
            (Decision::Resume, Some(cell)) => return self.resume(Role::Driver, &cell, driver.limits.cpus).await,
            (Decision::LaunchAnew, Some(cell)) => {
                self.worker.store.confirm_lease(self.lease).await?;
                if self.worker.engine.kill_unbegun(&cell.id).await? {
                    return Err(Stop::failed(FailureCode::WorkerLost, DRIVER_JUST_BEGUN));
                }
                self.remove(&cell.id).await?;
            }
            (Decision::LaunchAnew, None) => {}
            (Decision::Resume, None) => return Err(Stop::failed(FailureCode::WorkerLost, DRIVER_LOST)),
            (Decision::Fail(reason), _) => return Err(Stop::failed(FailureCode::WorkerLost, reason)),
            (Decision::CrashLimit, _) => return Err(crash_limit_reached(attempt.claim.crashes)),
        }
        let cell = self.launch(CellRequest::driver(template, driver), &fingerprint).await?;
        Ok(StartedCell { cell, adopted: None })
    }

    /// Finds the cells of this attempt by their labels, and the berth whose namespace they join.
    async fn find(&mut self) -> Result<FoundCells, Stop> {
        let mut found = FoundCells::default();
        for container in self.worker.engine.cells_of(self.lease.run_id, self.lease.attempt).await? {
            let (Some(id), Some(labels)) = (&container.id, &container.labels) else { continue };
            self.containers().push(id.clone());
            self.adopted_berth = berth_of(&container).map(str::to_owned).or(self.adopted_berth.take());
            let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let cell =
                FoundCell { id: id.clone(), fingerprint: label(LABEL_PLAN), processors: label(LABEL_PROCESSORS) };
            match labels.get(LABEL_CELL).map(String::as_str) {
                Some("subject") => found.subject = Some(cell),
                Some("driver") => self.adopted_driver = Some(cell),
                Some("fetch") => found.fetch = Some(cell),
                _ => {}
            }
        }
        Ok(found)
    }

    async fn subject_state(&self, attempt: &Attempt<'_>, cell: &FoundCell, had_begun: bool) -> Result<CellState, Stop> {
        if !had_begun && !self.worker.engine.has_begun(&cell.id).await? {
            return Ok(CellState::NotBegun);
        }
        let template = &*attempt.template()?;
        let fingerprint = plan_fingerprint(template, &plan::subject(template, &self.worker.config));
        Ok(CellState::Begun { is_current: cell.fingerprint == fingerprint })
    }

    async fn resume(&self, role: Role, found: &FoundCell, cpus: f64) -> Result<StartedCell, Stop> {
        let (cell, state) = self.worker.engine.resume(&found.id).await?;
        self.query_image(&cell.id);
        self.cpus.adopt(role, &found.processors, cpus);
        Ok(StartedCell { cell, adopted: Some(state) })
    }

    /// Removes every cell that was found, none of which has begun.
    async fn remove_unbegun(&mut self) -> Result<(), Stop> {
        // The lease is confirmed last: another worker may have taken the run over while the engine was asked.
        self.worker.store.confirm_lease(self.lease).await?;
        let ids = std::mem::take(&mut *self.containers());
        for id in ids {
            // The cell may have begun since it was looked at; then this attempt is over.
            if self.worker.engine.kill_unbegun(&id).await? {
                self.containers().push(id);
                return Err(Stop::failed(FailureCode::WorkerLost, SUBJECT_JUST_BEGUN));
            }
            self.worker.engine.remove(&id).await?;
        }
        Ok(())
    }

    /// Removes every cell and berth that another worker made for this attempt.
    pub(super) async fn remove_adopted(&self, crashes: i32) -> Result<(), Stop> {
        if crashes >= MAX_CRASHES {
            return Err(crash_limit_reached(crashes));
        }
        self.worker.store.confirm_lease(self.lease).await?;
        for container in self.worker.engine.cells_of(self.lease.run_id, self.lease.attempt).await? {
            if let Some(id) = &container.id {
                self.worker.engine.remove(id).await?;
            }
            if let Some(berth) = berth_of(&container) {
                self.worker.berths.discard(berth).await;
            }
        }
        Ok(())
    }
}

/// The end of a run after [`MAX_CRASHES`] workers died while they drove it: the run is assumed to be the cause.
fn crash_limit_reached(crashes: i32) -> Stop {
    let message = format!("{crashes} workers died while they worked on this run; no other will");
    Stop::failed(FailureCode::WorkerLost, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: CellState = CellState::Begun { is_current: true };
    const OUTDATED: CellState = CellState::Begun { is_current: false };

    #[test]
    fn a_run_continues_in_its_cell_or_begins_or_fails() {
        for (subject, had_begun, crashed, decision) in [
            // A stage has begun: only its own cell can continue the run.
            (CURRENT, true, true, Decision::Resume),
            (CURRENT, true, false, Decision::Resume),
            (OUTDATED, true, true, Decision::Fail(TEMPLATE_CHANGED)),
            (OUTDATED, true, false, Decision::Fail(TEMPLATE_CHANGED)),
            (CellState::NotBegun, true, true, Decision::Fail(SUBJECT_LOST)),
            (CellState::NotBegun, true, false, Decision::Fail(SUBJECT_LOST)),
            (CellState::Missing, true, true, Decision::Fail(SUBJECT_LOST)),
            (CellState::Missing, true, false, Decision::Fail(SUBJECT_LOST)),
            // The row says that nothing has begun, but the cell may show that a stage has.
            (CURRENT, false, true, Decision::Resume),
            (CURRENT, false, false, Decision::Resume),
            (OUTDATED, false, true, Decision::Fail(TEMPLATE_CHANGED)),
            (OUTDATED, false, false, Decision::Fail(TEMPLATE_CHANGED)),
            // Nothing has begun: it may begin here, unless a worker died of it.
            (CellState::NotBegun, false, true, Decision::Fail(SUBJECT_NOT_BEGUN)),
            (CellState::NotBegun, false, false, Decision::LaunchAnew),
            (CellState::Missing, false, true, Decision::Fail(SUBJECT_NOT_BEGUN)),
            (CellState::Missing, false, false, Decision::LaunchAnew),
        ] {
            let facts = SubjectFacts { subject, had_begun, crashed, crashes: MAX_CRASHES - 1 };
            assert_eq!(decide_subject(facts), decision, "{facts:?}");
            let facts = SubjectFacts { crashes: MAX_CRASHES, ..facts };
            assert_eq!(decide_subject(facts), Decision::CrashLimit, "{facts:?}");
        }
    }

    #[test]
    fn tests_continue_in_their_cell_or_begin_or_fail() {
        for (driver, tests_had_begun, decision) in [
            (CURRENT, true, Decision::Resume),
            (CURRENT, false, Decision::Resume),
            (OUTDATED, true, Decision::Fail(TESTS_CHANGED)),
            (OUTDATED, false, Decision::Fail(TESTS_CHANGED)),
            (CellState::NotBegun, true, Decision::LaunchAnew),
            (CellState::NotBegun, false, Decision::LaunchAnew),
            (CellState::Missing, true, Decision::Fail(DRIVER_LOST)),
            (CellState::Missing, false, Decision::LaunchAnew),
        ] {
            assert_eq!(decide_driver(driver, tests_had_begun), decision, "{driver:?} {tests_had_begun}");
        }
    }
}
