//! The artifacts of a cell, as its session receives them.

use assize_cell::Role;
use assize_domain::artifact::Origin;
use assize_domain::run::FailureCode;
use assize_protocol::artifacts::{ArtifactStarted, ArtifactsReport};

use super::CellSession;
use super::events::count_received;
use crate::worker::attempt::Attempt;
use crate::worker::stop::Stop;

impl CellSession {
    /// Whether the cell hands out files.
    pub const fn hands_out(&self) -> bool {
        self.plan.artifacts.is_some()
    }

    fn origin(&self) -> Origin {
        if self.policy.role() == Role::Driver { Origin::Driver } else { Origin::Subject }
    }

    /// A warden keeps to the limits by itself; the worker does not rely on it.
    pub(super) fn begin_artifact(&mut self, attempt: &mut Attempt<'_>, started: ArtifactStarted) -> Result<(), Stop> {
        let limit = self.plan.artifacts.as_ref().map_or(0, |rules| rules.max_files);
        if self.artifacts_received.0 == limit {
            return Err(Stop::failed(FailureCode::CellLost, format!("the cell sent more than {limit} artifacts")));
        }
        self.artifacts_received.0 += 1;
        attempt.artifacts.begin(self.origin(), started.name)
    }

    pub(super) async fn receive_artifact(&mut self, attempt: &mut Attempt<'_>, piece: &[u8]) -> Result<(), Stop> {
        let limit = self.plan.artifacts.as_ref().map_or(0, |rules| rules.max_bytes);
        count_received(&mut self.artifacts_received.1, piece.len(), limit, "artifacts")?;
        attempt.artifacts.push(piece).await
    }

    pub(super) fn end_artifacts(&self, attempt: &mut Attempt<'_>, report: Option<ArtifactsReport>) {
        if let (true, Some(report)) = (self.hands_out(), report) {
            attempt.artifacts.report(self.origin(), report);
        }
    }

    /// The session ends without the report of a cell that hands out files.
    pub(super) fn cut_off_artifacts(&self, attempt: &mut Attempt<'_>) {
        attempt.artifacts.cut_off(self.origin());
    }
}
