//! The route of a run's verdict, in the service's own format or in a common one.

use assize_domain::verdict::{Verdict, to_gradescope, to_junit};
use assize_signing::envelope::{Envelope, MEDIA_TYPE};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::extract::{PathId, QueryParams};
use super::problem::{Problem, ROUTE, WITH_ID, WITH_KEY, codes, problem_responses};
use super::runs;
use super::state::ApiState;

/// Another format than the service's own.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum VerdictFormat {
    /// Gradescope's `results.json`.
    Gradescope,
    /// JUnit XML.
    Junit,
    /// The signed statement of how the run ended, with or without a verdict: a DSSE envelope for `assize verify`.
    Dsse,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VerdictParams {
    /// Another format than the service's own.
    #[param(value_type = VerdictFormat, required = false, inline)]
    format: Option<VerdictFormat>,
}

/// The verdict of a run.
#[derive(Serialize, ToSchema)]
pub(super) struct VerdictView {
    run_id: Uuid,
    #[serde(flatten)]
    verdict: Verdict,
}

/// The verdict as JSON: in the service's own format, or with `format=gradescope` in Gradescope's.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two JSON formats")]
enum JsonVerdict {
    Own(VerdictView),
    Gradescope(GradescopeSchema),
}

/// Gradescope's `results.json`.
#[derive(ToSchema)]
#[schema(as = GradescopeResults)]
#[expect(dead_code, reason = "describes the output of `to_gradescope`")]
struct GradescopeSchema {
    score: f64,
    max_score: f64,
    tests: Vec<GradescopeTestSchema>,
    /// Text about the whole submission.
    #[schema(required = false)]
    output: String,
    /// `assize` has what Gradescope has no field for.
    #[schema(value_type = Object)]
    extra_data: serde_json::Value,
}

/// A test in Gradescope's `results.json`.
#[derive(ToSchema)]
#[schema(as = GradescopeTest)]
#[expect(dead_code, reason = "describes the output of `to_gradescope`")]
struct GradescopeTestSchema {
    name: String,
    score: f64,
    max_score: f64,
    visibility: String,
    /// `passed` or `failed`; absent for a test that did not run.
    #[schema(required = false, pattern = "^(passed|failed)$")]
    status: String,
    /// The message of the test.
    #[schema(required = false)]
    output: String,
    /// `assize` has what Gradescope has no field for.
    #[schema(value_type = Object)]
    extra_data: serde_json::Value,
}

problem_responses!(VerdictProblems: ROUTE, WITH_KEY, WITH_ID,
    &[codes::BAD_PARAMETER, codes::NO_VERDICT, codes::NOT_SIGNED]);

/// Read the verdict of a run
///
/// Only a completed run has a verdict. With `format=dsse`, the answer is the signed statement of how the run ended,
/// which every signed run has.
#[utoipa::path(
    get, path = "/v1/runs/{id}/verdict", tag = "runs", operation_id = "readVerdict",
    params(("id" = Uuid, Path, description = "The id of the run"), VerdictParams),
    responses(
        (status = 200, description = "The verdict", content(
            (JsonVerdict = "application/json"),
            (String = "application/xml"),
            (Envelope = "application/vnd.dsse.envelope.v1+json"),
        )),
        VerdictProblems,
    )
)]
pub(super) async fn read(
    State(api): State<ApiState>,
    caller: Caller,
    PathId(run_id): PathId,
    QueryParams(params): QueryParams<VerdictParams>,
) -> Result<Response, Problem> {
    if let Some(VerdictFormat::Dsse) = params.format {
        return envelope(&api, caller, run_id).await;
    }
    let row = api.store.read_verdict(caller.organization, run_id).await?;
    let row = row.ok_or_else(|| Problem::not_found("run"))?;
    let Some(verdict) = row.verdict else {
        let run = runs::find(&api, caller, run_id).await?;
        return Err(Problem::no_verdict(row.status, run.failure_code.filter(|_| row.status.is_terminal())));
    };
    Ok(match params.format {
        // The function returned the signed statement above.
        None | Some(VerdictFormat::Dsse) => Json(VerdictView { run_id, verdict: verdict.0 }).into_response(),
        Some(VerdictFormat::Gradescope) => Json(to_gradescope(&verdict)).into_response(),
        Some(VerdictFormat::Junit) => {
            ([(header::CONTENT_TYPE, "application/xml; charset=utf-8")], to_junit(&verdict)).into_response()
        }
    })
}

async fn envelope(api: &ApiState, caller: Caller, run_id: Uuid) -> Result<Response, Problem> {
    let row = api.store.read_envelope(caller.organization, run_id).await?;
    let row = row.ok_or_else(|| Problem::not_found("run"))?;
    match row.envelope {
        Some(envelope) => Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], Json(envelope.0)).into_response()),
        None if row.status.is_terminal() => Err(Problem::not_signed()),
        None => Err(Problem::no_verdict(row.status, None)),
    }
}
