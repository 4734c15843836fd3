//! The events of a cell, one by one.

use std::time::Duration;

use assize_cell::Event;
use assize_domain::run::{FailureCode, StageName};
use assize_protocol::egress::FromCell;
use assize_protocol::event::{EndStatus, Output, ResultsFileStarted};
use assize_protocol::results::MAX_FILES;

use super::deadline::{self, SLACK};
use super::{CellReport, CellSession, ReceivedFile, RejectionContext, SessionProgress};
use crate::egress::Tunnels;
use crate::worker::attempt::Attempt;
use crate::worker::stop::Stop;

/// Bytes of results that a cell sends within the slack of its last stage, on whatever host.
const QUICK_RESULTS: u64 = 1024 * 1024;

/// Connections in one event of the run.
const MAX_RECORDED_CONNECTIONS: usize = 50;

impl CellSession {
    pub(super) async fn handle_event(
        &mut self,
        attempt: &mut Attempt<'_>,
        event: Event,
    ) -> Result<SessionProgress, Stop> {
        match event {
            Event::Hello(hello) => {
                self.observed.began_us = hello.at_us;
                self.observed.total_hits = attempt.worker.cgroups.total_hits();
                self.global_deadline =
                    deadline::after(&attempt.worker.clock, hello.at_us, deadline::outside(&self.plan));
                self.set_deadline(self.global_deadline);
            }
            Event::StageStarted(started) => {
                self.observed.has_run = true;
                let (stage, timeout) = self.stage(started.stage)?;
                self.begin_progress(started.stage, started.at_us);
                self.set_deadline(
                    deadline::after(&attempt.worker.clock, started.at_us, timeout + SLACK).min(self.global_deadline),
                );
                attempt.enter(stage).await?;
            }
            Event::StageReady(ready) => {
                self.observed.secret = ready.secret;
                self.set_deadline(self.global_deadline);
                return Ok(SessionProgress::Ready);
            }
            Event::Output(output) => self.log_output(attempt, output)?,
            Event::Progress(progress) => self.receive_progress(attempt, &progress)?,
            Event::Tunnel(message) => self.handle_tunnel(attempt, message).await?,
            Event::StageEnded(ended) => {
                if let Some(tunnels) = &mut self.tunnels {
                    tunnels.end_stage().await;
                }
                self.record_egress(attempt).await?;
                let next = ended.stage.saturating_add(1);
                self.stage_ended(attempt, ended).await?;
                self.policy.stage_ended();
                // Unpacking the tests before the next stage, or sending large results or artifacts, belongs to no stage's time.
                let unpacks_next = self.plan.inputs.iter().any(|input| input.before == Some(next));
                let sends_large = self.plan.results.as_ref().is_some_and(|file| file.max_bytes > QUICK_RESULTS);
                if unpacks_next || sends_large || self.plan.artifacts.is_some() || self.policy.forwards_results() {
                    self.set_deadline(self.global_deadline);
                }
            }
            Event::ResultsFile(file) => self.begin_results_file(file)?,
            Event::Results(piece) => return self.receive_results(piece),
            Event::ArtifactStarted(started) => self.begin_artifact(attempt, started)?,
            Event::Artifact(piece) => self.receive_artifact(attempt, &piece).await?,
            Event::ArtifactEnded(ended) => attempt.artifacts.finish(ended).await?,
            Event::End(end) => {
                self.end_artifacts(attempt, end.artifacts);
                return match end.status {
                    EndStatus::Done => Ok(SessionProgress::Ended(CellReport {
                        results: std::mem::take(&mut self.results),
                        files: std::mem::take(&mut self.results_files),
                        status: end.results,
                        tests: self.observed.tests.take(),
                        interrupted: self.observed.interrupted.take().map(Box::new),
                        went_down: self.take_went_down(),
                        reported: std::mem::take(&mut self.reported),
                    })),
                    status => {
                        let context = RejectionContext {
                            has_run: self.observed.has_run,
                            elapsed: Duration::from_micros(end.at_us.saturating_sub(self.observed.began_us)),
                            global_timeout: deadline::global(&self.plan),
                            workspace_mib: self.limits.workspace_mib,
                        };
                        Err(Stop::Failed(self.policy.rejection(status, &context)))
                    }
                };
            }
        }
        Ok(SessionProgress::Continue)
    }

    pub(super) fn log_output(&mut self, attempt: &mut Attempt<'_>, output: Output) -> Result<(), Stop> {
        let (stage, _) = self.stage(output.stage)?;
        // A warden sends no more than head and tail of each stage; the worker does not rely on it.
        let limit: u64 = self.plan.stages.iter().map(|stage| stage.output.head + stage.output.tail).sum();
        count_received(&mut self.output_received, output.bytes.len(), limit, "output")?;
        self.policy.observe_output(&output);
        attempt.output.push(stage, output);
        Ok(())
    }

    fn begin_results_file(&mut self, file: ResultsFileStarted) -> Result<(), Stop> {
        if self.results_files.len() == MAX_FILES {
            return Err(Stop::failed(FailureCode::CellLost, "the cell sent more files of results than allowed"));
        }
        self.results_files.push(ReceivedFile { name: file.name, from: self.results.len() });
        Ok(())
    }

    fn receive_results(&mut self, piece: Vec<u8>) -> Result<SessionProgress, Stop> {
        let limit = self.plan.results.as_ref().map_or(0, |file| file.max_bytes);
        count_received(&mut self.results_received, piece.len(), limit, "results")?;
        if self.policy.forwards_results() {
            return Ok(SessionProgress::ResultsPiece(piece));
        }
        self.results.extend_from_slice(&piece);
        Ok(SessionProgress::Continue)
    }

    async fn handle_tunnel(&mut self, attempt: &Attempt<'_>, message: FromCell) -> Result<(), Stop> {
        let Some(tunnels) = &mut self.tunnels else { return Ok(()) };
        tunnels.hear(message);
        let is_page = tunnels.pending() >= MAX_RECORDED_CONNECTIONS;
        if is_page { self.record_egress(attempt).await } else { Ok(()) }
    }

    async fn record_egress(&mut self, attempt: &Attempt<'_>) -> Result<(), Stop> {
        match self.tunnels.as_ref().and_then(Tunnels::take_recorded) {
            Some(recorded) => attempt.record_egress(&recorded).await,
            None => Ok(()),
        }
    }

    /// The name and the time limit of a stage of the plan.
    pub(super) fn stage(&self, number: u8) -> Result<(StageName, Duration), Stop> {
        let unknown = || Stop::failed(FailureCode::CellLost, format!("the cell names a stage {number}"));
        let stage = self.plan.stages.get(usize::from(number)).ok_or_else(unknown)?;
        Ok((stage.name.parse().map_err(|_| unknown())?, Duration::from_millis(stage.timeout_ms)))
    }
}

/// Counts what a cell has sent of one kind. A warden keeps to the limits by itself; the worker does not rely on it.
pub(super) fn count_received(received: &mut u64, more: usize, limit: u64, kind: &str) -> Result<(), Stop> {
    *received += more as u64;
    if *received <= limit {
        return Ok(());
    }
    let message = format!("the cell sent {received} bytes of {kind}, the limit is {limit}");
    Err(Stop::failed(FailureCode::CellLost, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_sends_more_than_it_may_is_lost() {
        let mut received = 0;
        assert!(count_received(&mut received, 6, 10, "output").is_ok());
        assert!(count_received(&mut received, 4, 10, "output").is_ok(), "all that it may");
        let Err(Stop::Failed(failure)) = count_received(&mut received, 1, 10, "output") else { panic!("accepted") };
        assert_eq!(failure.code, FailureCode::CellLost);
        assert_eq!(failure.evidence.message, "the cell sent 11 bytes of output, the limit is 10");
    }
}
