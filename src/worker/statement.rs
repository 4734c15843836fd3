//! What a worker says, signed, of how a run ended.

use assize_protocol::event::StageEnded;
use assize_protocol::plan::Plan;
use chrono::TimeDelta;

use super::attempt::Attempt;
use super::plan;
use crate::template::Template;
use assize_cell::{CellImage, Role};
use assize_config::Config;
use assize_domain::limits::CellLimits;
use assize_domain::run::{Failure, StageName, Status};
use assize_domain::verdict::Verdict;
use assize_signing::Envelope;
use assize_signing::statement::{
    CellStatement, FailureStatement, InToto, Material, OutputStatement, RUN, RunStatement, Sha256Digest, StageLimit,
    StageStatement, to_micros,
};

/// How the stages of an attempt ended, each once, in this order.
#[derive(Debug, Default)]
pub struct EndedStages(Vec<StageStatement>);

impl EndedStages {
    /// Adds what a warden reported; of a stage that is reported again only the first counts.
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
}

/// Signs the end of an attempt; `None` if nothing is to be signed.
pub fn sign(
    attempt: &mut Attempt<'_>,
    images: Vec<CellImage>,
    output: Option<OutputStatement>,
    ended: Result<&Verdict, &Failure>,
) -> Option<Envelope> {
    let worker = attempt.worker;
    let signer = worker.signer.as_ref()?;
    // What no archive came of, because its repository could not be fetched, cannot be named.
    let archive_sha256 = attempt.claim.archive_sha256.clone()?;
    let template = worker.templates.get(&attempt.claim.template);
    let stages = std::mem::take(&mut attempt.stages.0);
    let cells = template.map_or_else(Vec::new, |template| cells(template, &worker.config, &images));
    let taken = TimeDelta::from_std(attempt.taken()).unwrap_or_default();
    let claim = &attempt.claim;
    let failure = ended.err().map(|failure| FailureStatement {
        code: failure.code,
        cause: failure.code.cause(),
        message: failure.evidence.message.clone(),
        stage: failure.evidence.stage,
    });
    signer.sign(|key_id| {
        let run = RunStatement {
            run_id: claim.id,
            submission_id: claim.project_submission_id,
            organization_id: claim.organization_id,
            attempt: claim.attempt,
            template: template.map(|template| Material::new(&template.name, &template.digest)),
            cells,
            global_timeout_ms: template.map(|template| template.global_timeout_s * 1000),
            stages,
            output,
            integrity: template.map(Template::integrity),
            status: ended.err().map_or(Status::Completed, |failure| failure.code.status()),
            verdict: ended.ok().cloned(),
            failure,
            started_at: claim.started_at,
            finished_at: to_micros(claim.held_since + taken),
            key_id: key_id.to_owned(),
        };
        InToto::about(claim.project_submission_id, &archive_sha256, RUN, run)
    })
}

/// The cells that a template wants, with the images that those had that there were.
fn cells(template: &Template, config: &Config, images: &[CellImage]) -> Vec<CellStatement> {
    let subject = (Role::Subject, template.image.as_str(), template.limits, plan::subject(template, config));
    let driver = template.driver.as_ref();
    let driver = driver
        .map(|driver| (Role::Driver, driver.image.as_str(), driver.limits, plan::driver(template, driver, config)));
    let cells = std::iter::once(subject).chain(driver);
    cells.map(|(role, image, limits, plan)| cell(role, image, limits, &plan, images)).collect()
}

fn cell(role: Role, image: &str, limits: CellLimits, plan: &Plan, images: &[CellImage]) -> CellStatement {
    let made_from = images.iter().find(|image| image.role == role.as_str());
    CellStatement {
        role: role.as_str().to_owned(),
        image: image.to_owned(),
        image_digest: made_from.map(|image| Sha256Digest { sha256: image.sha256.clone() }),
        limits: serde_json::to_value(limits).unwrap_or_default(),
        output_limit_bytes: plan.stages.iter().map(|stage| stage.output.limit).max().unwrap_or(0),
        stages: plan
            .stages
            .iter()
            .map(|stage| StageLimit { name: stage.name.clone(), timeout_ms: stage.timeout_ms })
            .collect(),
    }
}
