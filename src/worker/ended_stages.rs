//! The stages of an attempt that have ended, for the signed statement about the end of the run.

use assize_cell::Role;
use assize_domain::run::StageName;
use assize_protocol::event::StageEnded;
use assize_signing::statement::StageStatement;

/// How the stages of an attempt ended, in the order in which they ended.
#[derive(Debug, Default)]
pub struct EndedStages(Vec<StageStatement>);

impl EndedStages {
    /// Adds a stage as its warden reported it. Of a stage that is reported twice only the first report counts.
    pub fn push(&mut self, role: Role, name: StageName, ended: &StageEnded) {
        let cell = role.as_str();
        if self.0.iter().any(|stage| stage.cell == cell && stage.name == name) {
            return;
        }
        self.0.push(StageStatement {
            cell: cell.to_owned(),
            name,
            exit: ended.exit.clone(),
            duration_ms: ended.at_us.saturating_sub(ended.started_us) / 1000,
            cpu_ms: ended.cpu_ms,
            max_rss_kib: ended.max_rss_kib,
            output_bytes: ended.output_bytes,
        });
    }

    /// The stages so far; none is left.
    pub fn take(&mut self) -> Vec<StageStatement> {
        std::mem::take(&mut self.0)
    }
}
