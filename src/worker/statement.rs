//! The signed statement of a worker about the end of a run.

use assize_cell::{CellImage, Role};
use assize_config::Config;
use assize_domain::artifact::{Artifact, RunArtifacts};
use assize_domain::limits::CellLimits;
use assize_domain::run::{Failure, Status};
use assize_domain::verdict::Verdict;
use assize_protocol::plan::Plan;
use assize_signing::Envelope;
use assize_signing::statement::{
    ArtifactStatement, CellStatement, FailureStatement, InToto, Material, OutputStatement, RUN, RunStatement,
    Sha256Digest, StageLimit, to_micros,
};
use chrono::TimeDelta;

use super::attempt::Attempt;
use super::plan;
use crate::template::Template;

/// Signs the end of an attempt. `None` if this worker has no key, or if there is no archive that could be named.
pub fn sign(
    attempt: &mut Attempt<'_>,
    images: Vec<CellImage>,
    output: Option<OutputStatement>,
    artifacts: &RunArtifacts,
    ended: Result<&Verdict, &Failure>,
) -> Option<Envelope> {
    let worker = attempt.worker;
    let signer = worker.signer.as_ref()?;
    // If the repository could not be fetched, there is no archive that the statement could be about.
    let archive_sha256 = attempt.claim.archive_sha256.clone()?;
    let template = attempt.begun_with.clone();
    let template = template.as_deref();
    let stages = attempt.stages.take();
    let cells = template.map_or_else(Vec::new, |template| cells(template, &worker.config, &images));
    let elapsed = TimeDelta::from_std(attempt.elapsed()).unwrap_or_default();
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
            artifacts: artifacts.files.iter().map(of_artifact).collect(),
            integrity: template.map(Template::integrity),
            status: ended.err().map_or(Status::Completed, |failure| failure.code.status()),
            verdict: ended.ok().cloned(),
            failure,
            started_at: claim.started_at,
            finished_at: to_micros(claim.held_since + elapsed),
            key_id: key_id.to_owned(),
        };
        InToto::about(claim.project_submission_id, &archive_sha256, RUN, run)
    })
}

fn of_artifact(artifact: &Artifact) -> ArtifactStatement {
    ArtifactStatement {
        name: artifact.name.clone(),
        origin: artifact.origin,
        digest: Sha256Digest { sha256: artifact.sha256.clone() },
        bytes: artifact.bytes,
    }
}

/// Describes each cell that the template defines; cells that were launched also have the digest of their image.
fn cells(template: &Template, config: &Config, images: &[CellImage]) -> Vec<CellStatement> {
    let subject = (Role::Subject, template.image.as_str(), template.limits, plan::subject(template, config));
    let driver = template.driver.as_ref();
    let driver = driver.map(|driver| {
        (Role::Driver, driver.image.as_str(), driver.limits, plan::driver(template, driver, None, config))
    });
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
