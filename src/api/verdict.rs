//! The verdict of a run, in our own format or in one that others read.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::extract::{Id, Params};
use super::problem::{Document, Problem};
use super::{ApiState, runs};
use assize_domain::verdict::{Verdict, to_gradescope, to_junit};
use assize_signing::envelope::{Envelope, MEDIA_TYPE};

/// How the verdict is written.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = VerdictFormat)]
pub(super) enum Format {
    /// Gradescope's `results.json`.
    Gradescope,
    /// JUnit XML.
    Junit,
    /// The signed statement of how the run ended, whichever way that was: a DSSE envelope for `assize verify`.
    Dsse,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadParams {
    /// Another format than our own.
    #[param(inline)]
    format: Option<Format>,
}

/// The verdict of a run.
#[derive(Serialize, ToSchema)]
pub(super) struct VerdictView {
    run_id: Uuid,
    #[serde(flatten)]
    verdict: Verdict,
}

/// Read the verdict of a run that completed, or the signed statement of how it ended.
#[utoipa::path(
    get, path = "/v1/runs/{id}/verdict", tag = "runs",
    params(("id" = Uuid, Path, description = "The run"), ReadParams),
    responses(
        (status = 200, description = "The verdict", content(
            (VerdictView = "application/json"),
            (String = "application/xml"),
            (Envelope = "application/vnd.dsse.envelope.v1+json"),
        )),
        (status = 409, description = "There is none, or not yet", body = Document,
            content_type = "application/problem+json"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(
    State(api): State<ApiState>,
    caller: Caller,
    Id(run_id): Id,
    Params(params): Params<ReadParams>,
) -> Result<Response, Problem> {
    if let Some(Format::Dsse) = params.format {
        return envelope(&api, caller, run_id).await;
    }
    let row = api.store.read_verdict(caller.organization, run_id).await?;
    let row = row.ok_or_else(|| Problem::not_found("run"))?;
    let Some(verdict) = row.verdict else {
        let run = runs::find(&api, caller, run_id).await?;
        return Err(Problem::no_verdict(row.status, run.failure_code.filter(|_| row.status.is_terminal())));
    };
    Ok(match params.format {
        // The signed statement was given above.
        None | Some(Format::Dsse) => Json(VerdictView { run_id, verdict: verdict.0 }).into_response(),
        Some(Format::Gradescope) => Json(to_gradescope(&verdict)).into_response(),
        Some(Format::Junit) => {
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
