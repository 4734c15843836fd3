//! The routes of runs: list, read, wait and cancel.

use std::time::Duration;

use assize_domain::queue::Waiting;
use assize_domain::run::{FailureCode, Status};
use assize_observe::event::{self, RunIdentity};
use assize_store::runs::{After, Cancelled, RunRow};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tracing::Instrument;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::cursor;
use super::etag::{self, IfNoneMatch};
use super::extract::{PathId, QueryParams};
use super::open_requests::OpenRequestLimiter;
use super::problem::{Problem, ROUTE, WITH_ID, WITH_KEY, codes, problem_responses};
use super::request_log::Held;
use super::run_watch::RunWatch;
use super::state::{ApiState, Shutdown};
use super::views::RunView;

/// The number of runs on a page by default, and the maximum.
const DEFAULT_PAGE: u64 = 50;
const MAX_PAGE: u64 = 200;
/// The maximum number of ids in one request.
const MAX_IDS: usize = 100;
/// The maximum time in seconds that a request may wait for a run to change.
const MAX_WAIT_S: u64 = 60;

/// Which runs to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only runs with this status.
    #[param(value_type = Status, required = false)]
    status: Option<Status>,
    /// The number of runs on the page: 1 to 200, 50 by default.
    #[param(value_type = u64, required = false, minimum = 1, maximum = 200)]
    limit: Option<u64>,
    /// `next_cursor` of the previous page.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]{34}$")]
    cursor: Option<String>,
    /// Up to 100 run ids, separated by commas. It cannot be combined with another parameter.
    #[param(value_type = String, required = false, pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(,[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}){0,99}$")]
    ids: Option<String>,
}

/// A page of runs, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct RunPage {
    runs: Vec<RunView>,
    /// The cursor of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// How long to wait for the run to change.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitParams {
    /// Wait at most this many seconds for the run to end. With `If-None-Match`, wait for any change of the run.
    #[param(value_type = u64, required = false, maximum = 60)]
    wait: Option<u64>,
}

problem_responses!(ListProblems: ROUTE, WITH_KEY,
    &[codes::BAD_PARAMETER, codes::MALFORMED_CURSOR, codes::MALFORMED_IDS]);

problem_responses!(ReadProblems: ROUTE, WITH_KEY, WITH_ID, &[codes::BAD_PARAMETER, codes::TOO_MANY_OPEN_REQUESTS]);

problem_responses!(CancelProblems: ROUTE, WITH_KEY, WITH_ID, &[codes::ROLE_MISSING]);

/// List runs
///
/// The newest run comes first. With `ids`, the answer has these runs instead of a page; ids of runs that do not exist
/// are left out.
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs", operation_id = "listRuns", params(ListParams),
    responses(
        (status = 200, description = "A page of runs", body = RunPage),
        ListProblems,
    )
)]
pub(super) async fn list(
    State(api): State<ApiState>,
    caller: Caller,
    QueryParams(params): QueryParams<ListParams>,
) -> Result<Json<RunPage>, Problem> {
    if let Some(ids) = &params.ids {
        if params.status.is_some() || params.limit.is_some() || params.cursor.is_some() {
            return Err(Problem::bad_parameters("ids cannot be combined with another parameter"));
        }
        let runs = api.store.runs_by_ids(caller.organization, &read_ids(ids)?).await?;
        return Ok(Json(RunPage { runs: runs.into_iter().map(RunView::from).collect(), next_cursor: None }));
    }
    let limit = params.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::parameter_range("limit", 1, MAX_PAGE, limit));
    }
    let after = match &params.cursor {
        None => After::TOP,
        Some(text) => cursor::read(text).ok_or_else(Problem::malformed_cursor)?,
    };
    // One run more than requested shows whether there is a next page.
    let wanted = i64::try_from(limit).unwrap_or(1) + 1;
    let mut runs = api.store.list_runs(caller.organization, params.status, after, wanted).await?;
    let more = runs.len() as u64 > limit;
    runs.truncate(usize::try_from(limit).unwrap_or(1));
    let next_cursor = runs.last().filter(|_| more).map(cursor::after);
    Ok(Json(RunPage { runs: runs.into_iter().map(RunView::from).collect(), next_cursor }))
}

/// Read a run
///
/// With `wait`, the answer comes when the run has ended, or when it has changed since the `If-None-Match` of the request,
/// or when the time is over.
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "runs", operation_id = "readRun",
    params(
        ("id" = Uuid, Path, description = "The id of the run"), WaitParams,
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "The ETag of the previous answer")
    ),
    responses(
        (status = 200, description = "The run", body = RunView,
            headers(("ETag" = String, description = "Changes when the run changes, except when only `queue` changes"))),
        (status = 304, description = "The run has not changed since `If-None-Match`"),
        ReadProblems,
    )
)]
pub(super) async fn read(
    State(api): State<ApiState>,
    State(Shutdown(shutdown)): State<Shutdown>,
    State(open_requests): State<OpenRequestLimiter>,
    caller: Caller,
    PathId(id): PathId,
    QueryParams(params): QueryParams<WaitParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = params.wait.unwrap_or(0);
    if wait > MAX_WAIT_S {
        return Err(Problem::parameter_range("wait", 0, MAX_WAIT_S, wait));
    }
    let _permit = if wait > 0 { Some(open_requests.acquire(caller.key)?) } else { None };
    let known = IfNoneMatch::read(&headers);
    let mut watch = RunWatch::new(&api.clock, &api.hints, id);
    let mut until = std::pin::pin!(tokio::time::sleep(Duration::from_secs(wait)));
    let mut may_wait = wait > 0;
    loop {
        let run = find(&api, caller, id).await?;
        let tag = etag::entity_tag(&run);
        let has_changed = known.as_ref().is_none_or(|known| !known.matches(&tag));
        let is_final = run.status.is_terminal() || (known.is_some() && has_changed);
        if may_wait && !is_final {
            may_wait = tokio::select! {
                () = watch.changed() => true,
                () = &mut until => false,
                () = shutdown.cancelled() => false,
            };
            continue;
        }
        let headers = etag::headers(&tag);
        // A request that waited in vain receives the run, not 304, which is for a request that does not wait.
        if !has_changed && wait == 0 {
            return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
        }
        let waiting = waiting(&api, &run).await?;
        let mut response = (headers, Json(RunView::waiting(run, waiting))).into_response();
        if wait > 0 {
            response.extensions_mut().insert(Held);
        }
        return Ok(response);
    }
}

/// Cancel a run
///
/// A queued run ends at once. The worker of an active run stops it.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = "runs", operation_id = "cancelRun",
    params(("id" = Uuid, Path, description = "The id of the run")),
    responses(
        (status = 202, description = "The run ended, or is going to end. A repetition changes nothing", body = RunView),
        (status = 200, description = "The run had ended before and is unchanged", body = RunView),
        CancelProblems,
    )
)]
pub(super) async fn cancel(
    State(api): State<ApiState>,
    caller: Caller,
    PathId(id): PathId,
) -> Result<(StatusCode, Json<RunView>), Problem> {
    let organization = caller.may_submit()?.organization;
    loop {
        let done = api.store.cancel_run(organization, id).await?;
        let run = find(&api, caller, id).await?;
        match done {
            // The run went back to the queue between the two statements of `cancel_run`. A run is queued again at most
            // twice, so that this loop ends.
            Cancelled::Unchanged if !run.status.is_terminal() => continue,
            Cancelled::Unchanged => return Ok((StatusCode::OK, Json(run.into()))),
            Cancelled::Ended => log_end(&run),
            Cancelled::Requested => {}
        }
        announce(&api, id, done);
        return Ok((StatusCode::ACCEPTED, Json(run.into())));
    }
}

/// Reads a run of the caller's organisation.
///
/// # Errors
/// `not_found` if there is no such run, or it belongs to another organisation.
pub(super) async fn find(api: &ApiState, caller: Caller, id: Uuid) -> Result<RunRow, Problem> {
    api.store.read_run(caller.organization, id).await?.ok_or_else(|| Problem::not_found("run"))
}

/// Returns why a run waits. Returns `None` if the run is not queued, or was claimed since it was read.
async fn waiting(api: &ApiState, run: &RunRow) -> Result<Option<Waiting>, Problem> {
    if run.status != Status::Queued {
        return Ok(None);
    }
    Ok(api.wait_reasons.explain(run.organization_id, run.id, run.attempt).await?)
}

/// Logs the end of a run that no worker had claimed: no other process logs it.
fn log_end(run: &RunRow) {
    let run = RunIdentity {
        run_id: run.id,
        submission_id: run.project_submission_id,
        organization_id: run.organization_id,
        template: run.template.clone(),
    };
    event::run_failed(&run, Duration::ZERO, None, FailureCode::Cancelled, "cancelled while it was queued");
}

/// Notifies waiting requests and the worker. The client does not wait for Redis.
fn announce(api: &ApiState, run: Uuid, done: Cancelled) {
    api.hints.moved(run);
    let redis = api.redis.clone();
    let announcing = async move {
        let announced = async {
            if done == Cancelled::Requested {
                redis.request_cancel(run).await?;
            }
            redis.announce(run).await
        };
        if let Err(error) = announced.await {
            event::dependency("redis", false, &error.to_string());
        }
    };
    tokio::spawn(announcing.in_current_span());
}

fn read_ids(text: &str) -> Result<Vec<Uuid>, Problem> {
    let ids: Vec<_> = text.split(',').take(MAX_IDS + 1).collect();
    if ids.len() > MAX_IDS {
        let seen = text.split(',').count() as u64;
        return Err(Problem::parameter_range("the number of ids", 1, MAX_IDS as u64, seen));
    }
    ids.into_iter().map(|id| id.trim().parse().map_err(|_| Problem::malformed_ids(id))).collect()
}
