//! The templates that a submission may name.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::auth::Caller;
use super::problem::{Document, Problem};
use crate::template::Template;
use assize_domain::limits::CellLimits;
use assize_domain::run::{Class, StageName};
use assize_domain::verdict::Integrity;

/// All templates.
#[derive(Serialize, ToSchema)]
pub(super) struct TemplateList {
    templates: Vec<TemplateView>,
}

/// A template.
#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
struct TemplateView {
    name: String,
    description: String,
    class: Class,
    /// In the order in which they run.
    stages: Vec<StageView>,
    /// Of the project's cell.
    limits: LimitsView,
    /// Present if the tests run in a cell of their own.
    driver: Option<DriverView>,
    /// Of the whole run, in seconds.
    global_timeout_s: u64,
    /// Who could write the results.
    integrity: Integrity,
    /// SHA-256 of the template and its tests.
    digest: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TemplateStage)]
struct StageView {
    name: StageName,
    timeout_s: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TemplateDriver)]
struct DriverView {
    timeout_s: u64,
    limits: LimitsView,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TemplateLimits)]
struct LimitsView {
    cpus: f64,
    memory_mib: u64,
    /// Processes and threads.
    pids: u64,
    workspace_mib: u64,
    workspace_inodes: u64,
    tmp_mib: u64,
}

/// List the templates.
#[utoipa::path(
    get, path = "/v1/templates", tag = "templates",
    responses(
        (status = 200, description = "All templates, by name", body = TemplateList),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(State(api): State<ApiState>, _: Caller) -> Result<Json<TemplateList>, Problem> {
    Ok(Json(TemplateList { templates: api.templates.iter().map(TemplateView::from).collect() }))
}

impl From<&Template> for TemplateView {
    fn from(template: &Template) -> Self {
        let stages = template.stages.iter().map(|stage| StageView { name: stage.name, timeout_s: stage.timeout_s });
        let driver = template.driver.as_ref();
        Self {
            name: template.name.clone(),
            description: template.description.clone(),
            class: template.class,
            stages: stages.collect(),
            limits: template.limits.into(),
            driver: driver.map(|driver| DriverView { timeout_s: driver.timeout_s, limits: driver.limits.into() }),
            global_timeout_s: template.global_timeout_s,
            integrity: template.integrity(),
            digest: template.digest.clone(),
        }
    }
}

impl From<CellLimits> for LimitsView {
    fn from(limits: CellLimits) -> Self {
        let CellLimits { cpus, memory_mib, pids, workspace_mib, workspace_inodes, tmp_mib } = limits;
        Self { cpus, memory_mib, pids, workspace_mib, workspace_inodes, tmp_mib }
    }
}
