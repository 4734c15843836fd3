//! A run's output: whole, from the blobs of its attempts and from Redis for the one in progress, or
//! live (see [`super::live`]).

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::extract::{Id, Params};
use super::held::{Held, Holding};
use super::problem::{Document, Problem};
use super::{ApiState, Stop, live, runs};
use crate::intake::blob::BlobError;
use assize_domain::output::{Entry, EntryId, blob_key, read_blob};
use assize_domain::run::StageName;
use assize_observe::event;
use assize_store::runs::RunRow;

/// Entries that are asked of Redis at one time.
pub(super) const BATCH: usize = 500;

/// Which output, and how.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadParams {
    /// Of one stage only.
    stage: Option<StageName>,
    /// Of the whole output; `json` if it is left out.
    #[param(inline)]
    format: Option<Format>,
    /// Only what comes after this id; as `Last-Event-ID` does, which outranks it.
    after: Option<String>,
}

/// How output that is asked for as a whole is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// Entries with stage, stream and place.
    Json,
    /// The text alone.
    Text,
    /// An entry on each line, byte for byte as the signed statement's digest has them; of a run with more
    /// than one attempt the lines of the last, whose ids begin with its number.
    Ndjson,
}

/// All output so far.
#[derive(Serialize, ToSchema)]
pub(super) struct WholeOutput {
    #[schema(value_type = Vec<EntrySchema>)]
    entries: Vec<Entry>,
    /// Whether the run has ended, so that no more will come.
    complete: bool,
}

/// One piece of output.
#[derive(ToSchema)]
#[schema(as = OutputEntry)]
#[expect(dead_code, reason = "describes `output::Entry`, which knows nothing of the API")]
struct EntrySchema {
    /// `<attempt>-<number>`; numbers count from 1 in each attempt.
    id: String,
    stage: StageName,
    /// `stdout` or `stderr`.
    stream: String,
    /// Bytes of the stage before this piece, over both streams; a jump is where the middle of a flood was left out.
    offset: u64,
    text: String,
}

/// Read the output of a run: whole, or live as Server-Sent Events if `Accept` names `text/event-stream`.
///
/// Events: `output` (with an id; data is an entry), `status` (a move of the run), `gap` (live output was lost and
/// goes on, whole, when the attempt ends), `end` (the run as it ended, then the stream closes).
#[utoipa::path(
    get, path = "/v1/runs/{id}/output", tag = "runs",
    params(
        ("id" = Uuid, Path, description = "The run"), ReadParams,
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last output event that arrived")
    ),
    responses(
        (status = 200, description = "The output", content(
            (WholeOutput = "application/json"),
            (String = "text/plain"),
            (String = "application/x-ndjson"),
            (String = "text/event-stream"),
        )),
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
    let after = last_event_id(&headers, params.after.as_deref())?;
    if params.format.is_none() && wants_events(&headers) {
        let filter = live::Filter { after, stage: params.stage };
        let held = Held::begin(&holding, caller)?;
        return live::follow(api, caller, id, filter, stop, held).await.map(IntoResponse::into_response);
    }
    let run = runs::find(&api, caller, id).await?;
    let complete = run.status.is_terminal();
    let mut entries = whole(&api, &run).await?;
    entries.retain(|entry| {
        after.is_none_or(|after| entry.id > after) && params.stage.is_none_or(|stage| entry.stage == stage)
    });
    Ok(match params.format {
        Some(Format::Text) => {
            let text: String = entries.into_iter().map(|entry| entry.text).collect();
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
        Some(Format::Ndjson) => {
            let lines = entries.iter().flat_map(Entry::line).collect::<Vec<u8>>();
            ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
        }
        Some(Format::Json) | None => Json(WholeOutput { entries, complete }).into_response(),
    })
}

/// All output of a run so far, in order.
async fn whole(api: &ApiState, run: &RunRow) -> Result<Vec<Entry>, Problem> {
    let current = u32::try_from(run.attempt).unwrap_or(1);
    let mut entries = Vec::new();
    for attempt in 1..current {
        entries.extend(of_ended_attempt(api, run.id, attempt).await?);
    }
    if run.status.is_terminal() {
        entries.extend(of_ended_attempt(api, run.id, current).await?);
    } else {
        entries.extend(live_entries(api, run.id, current).await);
    }
    Ok(entries)
}

/// The output of an attempt that is over: its blob, which is whole. An attempt whose worker was lost
/// has none; then what Redis still has is all there is.
pub(super) async fn of_ended_attempt(api: &ApiState, run: Uuid, attempt: u32) -> Result<Vec<Entry>, BlobError> {
    match api.blobs.output(&blob_key(run, attempt)).await {
        Ok(blob) => {
            let entries = read_blob(&blob).filter(|entry| entry.id.attempt == attempt);
            let by_id: BTreeMap<EntryId, Entry> = entries.map(|entry| (entry.id, entry)).collect();
            Ok(by_id.into_values().collect())
        }
        Err(BlobError::Missing(_)) => Ok(live_entries(api, run, attempt).await),
        Err(error) => Err(error),
    }
}

/// What Redis has of one attempt; nothing while Redis is away.
async fn live_entries(api: &ApiState, run: Uuid, attempt: u32) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(EntryId { attempt, number: 0 }, |entry| entry.id);
        match api.redis.read_output(run, after, BATCH).await {
            Ok(batch) => {
                let is_last = batch.len() < BATCH || batch.iter().any(|entry| entry.id.attempt > attempt);
                entries.extend(batch.into_iter().filter(|entry| entry.id.attempt == attempt));
                if is_last {
                    return entries;
                }
            }
            Err(error) => {
                event::dependency("redis", false, &error.to_string());
                return entries;
            }
        }
    }
}

fn last_event_id(headers: &HeaderMap, after: Option<&str>) -> Result<Option<EntryId>, Problem> {
    let text = match headers.get("last-event-id") {
        // A browser sends an empty one when it has seen no id yet.
        Some(value) if value.is_empty() => after,
        Some(value) => Some(value.to_str().map_err(|_| Problem::malformed_event_id("it is not text"))?),
        None => after,
    };
    text.map(|text| text.parse().map_err(|reason: String| Problem::malformed_event_id(&reason))).transpose()
}

fn wants_events(headers: &HeaderMap) -> bool {
    let kinds = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = kinds.flat_map(|value| value.split(',')).filter_map(|kind| kind.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}
