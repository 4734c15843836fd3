//! The route of templates.

use assize_domain::limits::CellLimits;
use assize_domain::run::{Class, StageName};
use assize_domain::verdict::Integrity;
use assize_protocol::names::NameRules;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::problem::{Problem, ROUTE, WITH_KEY, problem_responses};
use super::state::ApiState;
use crate::template::Template;

/// All templates.
#[derive(Serialize, ToSchema)]
pub(super) struct TemplateList {
    templates: Vec<TemplateView>,
}

/// How projects of one kind are evaluated.
#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
struct TemplateView {
    name: String,
    description: String,
    class: Class,
    /// The stages in the order in which they run.
    stages: Vec<StageView>,
    /// The limits of the sandbox in which the project runs.
    limits: LimitsView,
    /// The driver, if the tests run in a sandbox of their own; else null.
    driver: Option<DriverView>,
    /// The time limit of the whole run, in seconds.
    global_timeout_s: u64,
    /// Whether the project could have written its own results (`shared`) or not (`isolated`).
    integrity: Integrity,
    /// How the files of a project are chosen from its archive.
    archive: ArchiveView,
    /// The SHA-256 digest of the template and its tests, in hexadecimal.
    digest: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TemplateArchive)]
struct ArchiveView {
    /// The patterns of what is ignored: neither unpacked nor refused.
    ignore: Vec<String>,
    /// The patterns of the files that mark the project's folder. Empty: the only folder at the top, if there is one.
    root: Vec<String>,
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
    /// The maximum number of processes and threads.
    pids: u64,
    workspace_mib: u64,
    workspace_inodes: u64,
    tmp_mib: u64,
}

problem_responses!(ListProblems: ROUTE, WITH_KEY);

/// List the templates
#[utoipa::path(
    get, path = "/v1/templates", tag = "templates", operation_id = "listTemplates",
    responses(
        (status = 200, description = "All templates, sorted by name", body = TemplateList),
        ListProblems,
    )
)]
pub(super) async fn list(State(api): State<ApiState>, _: Caller) -> Result<Json<TemplateList>, Problem> {
    Ok(Json(TemplateList { templates: api.templates.current().iter().map(TemplateView::from).collect() }))
}

impl From<&Template> for TemplateView {
    fn from(template: &Template) -> Self {
        let stages = template.stages.iter().map(|stage| StageView { name: stage.name, timeout_s: stage.timeout_s });
        let driver = template.driver.as_ref();
        let NameRules { ignore, root } = template.archive.name_rules();
        Self {
            name: template.name.clone(),
            description: template.description.clone(),
            class: template.class,
            stages: stages.collect(),
            limits: template.limits.into(),
            driver: driver.map(|driver| DriverView { timeout_s: driver.timeout_s, limits: driver.limits.into() }),
            global_timeout_s: template.global_timeout_s,
            integrity: template.integrity(),
            archive: ArchiveView { ignore, root },
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
