//! What the tests report while they run: shown to clients as far as the template allows, and compared with the report in
//! the end.

use std::collections::BTreeMap;

use assize_domain::verdict;
use assize_protocol::progress::{DroppedLines, MAX_BYTES, Progress, ReportedStatus, TestReport};

use super::CellSession;
use super::events::count_received;
use crate::worker::attempt::Attempt;
use crate::worker::stop::Stop;

/// The tests that have ended, as the tests themselves reported it.
#[derive(Debug, Default)]
pub struct ReportedTests {
    /// The last status of each name.
    pub last: BTreeMap<String, ReportedStatus>,
    /// Lines beyond the limits were dropped, so the last status of a test may be missing.
    pub is_cut: bool,
}

impl CellSession {
    /// Notes when the stage began whose processes may report tests.
    pub(super) fn begin_progress(&mut self, stage: u8, at_us: u64) {
        if self.may_report(stage) {
            self.tests_began_us = at_us;
        }
    }

    pub(super) fn receive_progress(&mut self, attempt: &mut Attempt<'_>, progress: &Progress) -> Result<(), Stop> {
        let (stage, _) = self.stage(progress.stage)?;
        // A warden sends no more; the worker does not rely on it.
        let limit = if self.may_report(progress.stage) { MAX_BYTES } else { 0 };
        count_received(&mut self.progress_received, progress.lines.len(), limit, "progress")?;
        let template = attempt.template()?;
        let at_ms = progress.at_us.saturating_sub(self.tests_began_us) / 1000;
        for line in progress.lines.split(|byte| *byte == b'\n') {
            let Ok(TestReport { test, status }) = TestReport::parse(line) else { continue };
            let name = verdict::test_name(&test);
            if let Some(test) = template.results.shown_while_running(&name) {
                attempt.output.push_test(stage, at_ms, TestReport { test: test.to_owned(), status });
            }
            self.reported.last.insert(name, status);
        }
        Ok(())
    }

    /// Logs what the warden has dropped.
    pub(super) fn end_progress(&mut self, attempt: &Attempt<'_>, stage: u8, dropped: DroppedLines) {
        if !self.may_report(stage) || dropped.is_none() {
            return;
        }
        self.reported.is_cut = dropped.surplus > 0;
        let DroppedLines { bad, surplus } = dropped;
        tracing::info!(runId = %attempt.claim.id, bad, surplus, "lines about tests were dropped");
    }

    fn may_report(&self, stage: u8) -> bool {
        self.plan.stages.get(usize::from(stage)).is_some_and(|stage| stage.progress)
    }
}
