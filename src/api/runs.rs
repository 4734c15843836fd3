//! Runs: listed, watched and cancelled.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tracing::Instrument;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::etag::{self, Known};
use super::extract::{Id, Params};
use super::held::{Held, Holding};
use super::problem::{Document, Problem};
use super::view::RunView;
use super::wait::Watch;
use super::{ApiState, Stop, cursor};
use assize_domain::queue::Waiting;
use assize_domain::run::{FailureCode, Status};
use assize_observe::event::{self, Subject};
use assize_store::runs::{After, Cancelled, RunRow};

/// Runs on a page, unless the client says otherwise.
const PAGE: u64 = 50;
const MOST_PER_PAGE: u64 = 200;
/// Ids in one batch read.
const MOST_IDS: usize = 100;
/// Seconds that a client may wait for a run to move.
const LONGEST_WAIT_S: u64 = 60;

/// Which runs are listed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only runs in this state.
    status: Option<Status>,
    /// 1 to 200; 50 if it is left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Up to 100 ids, separated by commas, instead of a page.
    ids: Option<String>,
}

/// A page of runs, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct RunPage {
    runs: Vec<RunView>,
    /// Where the next page begins; absent on the last.
    next_cursor: Option<String>,
}

/// How long to wait.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadParams {
    /// Answer when the run has ended, or moved from the `If-None-Match` of the request, or after so many seconds.
    #[param(maximum = 60)]
    wait: Option<u64>,
}

/// List runs, newest first, or read up to 100 by id.
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs", params(ListParams),
    responses(
        (status = 200, description = "Runs", body = RunPage),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(api): State<ApiState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<RunPage>, Problem> {
    if let Some(ids) = &params.ids {
        if params.status.is_some() || params.limit.is_some() || params.cursor.is_some() {
            return Err(Problem::bad_parameters("ids goes with no other parameter"));
        }
        let runs = api.store.runs_by_ids(caller.organization, &read_ids(ids)?).await?;
        return Ok(Json(RunPage { runs: runs.into_iter().map(RunView::from).collect(), next_cursor: None }));
    }
    let limit = params.limit.unwrap_or(PAGE);
    if !(1..=MOST_PER_PAGE).contains(&limit) {
        return Err(Problem::parameter_range("limit", 1, MOST_PER_PAGE, limit));
    }
    let after = match &params.cursor {
        None => After::TOP,
        Some(text) => cursor::read(text).ok_or_else(Problem::malformed_cursor)?,
    };
    // One more than asked for tells whether there is a next page.
    let wanted = i64::try_from(limit).unwrap_or(1) + 1;
    let mut runs = api.store.list_runs(caller.organization, params.status, after, wanted).await?;
    let more = runs.len() as u64 > limit;
    runs.truncate(usize::try_from(limit).unwrap_or(1));
    let next_cursor = runs.last().filter(|_| more).map(cursor::after);
    Ok(Json(RunPage { runs: runs.into_iter().map(RunView::from).collect(), next_cursor }))
}

/// Read a run, now or when it has moved.
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "runs",
    params(
        ("id" = Uuid, Path, description = "The run"), ReadParams,
        ("If-None-Match" = Option<String>, Header, description = "ETag of the answer before")
    ),
    responses(
        (status = 200, description = "The run", body = RunView,
            headers(("ETag" = String, description = "Changes when the run does; not when only `queue` does"))),
        (status = 304, description = "It is as If-None-Match says"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(
    State(api): State<ApiState>,
    State(Stop(stop)): State<Stop>,
    State(holding): State<Holding>,
    caller: Caller,
    Id(id): Id,
    Params(params): Params<ReadParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = params.wait.unwrap_or(0);
    if wait > LONGEST_WAIT_S {
        return Err(Problem::parameter_range("wait", 0, LONGEST_WAIT_S, wait));
    }
    let _held = if wait > 0 { Some(Held::begin(&holding, caller)?) } else { None };
    let known = Known::read(&headers);
    let mut watch = Watch::new(&api.hints, id);
    let mut until = std::pin::pin!(tokio::time::sleep(Duration::from_secs(wait)));
    let mut may_wait = wait > 0;
    loop {
        let run = find(&api, caller, id).await?;
        let tag = etag::of(&run);
        let is_news = known.as_ref().is_none_or(|known| !known.has(&tag));
        let is_worth_an_answer = run.status.is_terminal() || (known.is_some() && is_news);
        if may_wait && !is_worth_an_answer {
            may_wait = tokio::select! {
                () = watch.moved() => true,
                () = &mut until => false,
                () = stop.cancelled() => false,
            };
            continue;
        }
        let headers = etag::headers(&tag);
        // A client that waited in vain gets the run again: 304 is for one that only asks.
        return Ok(if is_news || wait > 0 {
            let waiting = waiting(&api, &run).await?;
            (headers, Json(RunView::waiting(run, waiting))).into_response()
        } else {
            (StatusCode::NOT_MODIFIED, headers).into_response()
        });
    }
}

/// Cancel a run: a queued one ends now, an active one is stopped by its worker.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = "runs",
    params(("id" = Uuid, Path, description = "The run")),
    responses(
        (status = 202, description = "It ended, or will; asking again changes nothing", body = RunView),
        (status = 200, description = "It had ended before and stays as it is", body = RunView),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(api): State<ApiState>,
    caller: Caller,
    Id(id): Id,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let organization = caller.may_submit()?.organization;
    loop {
        let done = api.store.cancel_run(organization, id).await?;
        let run = find(&api, caller, id).await?;
        match done {
            // It went back to the queue between the two looks of `cancel_run`. A run is queued
            // again at most twice, so this ends.
            Cancelled::Unchanged if !run.status.is_terminal() => continue,
            Cancelled::Unchanged => return Ok((StatusCode::OK, Json(run.into()))),
            Cancelled::Ended => log_end(&run),
            Cancelled::Requested => {}
        }
        tell(&api, id, done);
        return Ok((StatusCode::ACCEPTED, Json(run.into())));
    }
}

/// The run, if it is this organisation's.
pub(super) async fn find(api: &ApiState, caller: Caller, id: Uuid) -> Result<RunRow, Problem> {
    api.store.read_run(caller.organization, id).await?.ok_or_else(|| Problem::not_found("run"))
}

/// Why a run waits, if it is queued; `None` too if it was claimed since it was read.
async fn waiting(api: &ApiState, run: &RunRow) -> Result<Option<Waiting>, Problem> {
    if run.status != Status::Queued {
        return Ok(None);
    }
    Ok(api.wait_reasons.explain(run.organization_id, run.id, run.attempt).await?)
}

/// A run that no worker had: nobody else tells of its end.
fn log_end(run: &RunRow) {
    let subject = Subject {
        run_id: run.id,
        submission_id: run.project_submission_id,
        organization_id: run.organization_id,
        template: run.template.clone(),
    };
    event::run_failed(&subject, Duration::ZERO, None, FailureCode::Cancelled, "cancelled while it was queued");
}

/// Tells whoever waits, and the worker, without keeping the client.
fn tell(api: &ApiState, run: Uuid, done: Cancelled) {
    api.hints.moved(run);
    let redis = api.redis.clone();
    let telling = async move {
        let told = async {
            if done == Cancelled::Requested {
                redis.request_cancel(run).await?;
            }
            redis.announce(run).await
        };
        if let Err(error) = told.await {
            event::dependency("redis", false, &error.to_string());
        }
    };
    tokio::spawn(telling.in_current_span());
}

fn read_ids(text: &str) -> Result<Vec<Uuid>, Problem> {
    let ids: Vec<_> = text.split(',').take(MOST_IDS + 1).collect();
    if ids.len() > MOST_IDS {
        let seen = text.split(',').count() as u64;
        return Err(Problem::parameter_range("the number of ids", 1, MOST_IDS as u64, seen));
    }
    ids.into_iter().map(|id| id.trim().parse().map_err(|_| Problem::malformed_ids(id))).collect()
}
