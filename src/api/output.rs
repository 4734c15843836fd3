//! The route of a run's output: the whole output so far, or live (see [`super::live`]).

use assize_domain::output::{Entry, EntryId, OutputEntry, TestEntry};
use assize_domain::run::StageName;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::extract::{PathId, QueryParams};
use super::open_requests::OpenRequestLimiter;
use super::problem::{Problem, ROUTE, WITH_ID, WITH_KEY, codes, problem_responses};
use super::state::{ApiState, Shutdown};
use super::stored_output::read_whole;
use super::{live, runs};

/// Which part of the output to return, and in which format.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OutputParams {
    /// Only the output of this stage.
    #[param(value_type = StageName, required = false)]
    stage: Option<StageName>,
    /// The format of the whole output; `json` by default. With a format the answer is never live.
    #[param(value_type = OutputFormat, required = false, inline)]
    format: Option<OutputFormat>,
    /// Only the output after this id. The header `Last-Event-ID` has the same meaning and takes precedence.
    #[param(value_type = String, required = false, pattern = "^[1-9][0-9]{0,8}-[0-9]{1,9}$")]
    after: Option<String>,
}

/// The format of a whole output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputFormat {
    /// Entries with stage, stream and offset.
    Json,
    /// The text only.
    Text,
    /// One entry on each line, output and ends of tests in their order. The digest in the signed statement is over
    /// exactly these bytes. If a run has several attempts, it is over the lines of the last attempt, whose ids begin with
    /// its number.
    Ndjson,
}

/// The whole output so far.
#[derive(Serialize, ToSchema)]
pub(super) struct WholeOutput {
    #[schema(value_type = Vec<OutputEntrySchema>)]
    entries: Vec<OutputEntry>,
    /// The ends of tests that the tests reported while they ran. They are no verdict. Their ids count together with
    /// those of the output.
    #[schema(value_type = Vec<TestEntrySchema>)]
    tests: Vec<TestEntry>,
    /// Whether the run has ended, so that the output is complete.
    complete: bool,
}

/// A part of the output.
#[derive(ToSchema)]
#[schema(as = OutputEntry)]
#[expect(dead_code, reason = "describes `output::OutputEntry`, which does not depend on the API")]
struct OutputEntrySchema {
    /// `<attempt>-<number>`; numbers count from 1 in each attempt.
    #[schema(pattern = "^[1-9][0-9]*-[1-9][0-9]*$")]
    id: String,
    stage: StageName,
    #[schema(inline)]
    stream: StreamSchema,
    /// The number of bytes that the stage wrote to both streams before this entry. A jump shows that the middle of a
    /// large output was omitted.
    offset: u64,
    text: String,
}

/// The stream of an entry.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes `Stream`, which does not depend on the API")]
enum StreamSchema {
    Stdout,
    Stderr,
}

/// The end of a test, as the tests reported it while they ran.
#[derive(ToSchema)]
#[schema(as = TestEntry)]
#[expect(dead_code, reason = "describes `output::TestEntry`, which does not depend on the API")]
struct TestEntrySchema {
    /// `<attempt>-<number>`, as of output.
    #[schema(pattern = "^[1-9][0-9]*-[1-9][0-9]*$")]
    id: String,
    stage: StageName,
    /// The number of the entry among those of tests in its attempt, from 1.
    sequence: u64,
    /// The time since the start of the stage, in ms.
    at_ms: u64,
    /// The name of the test as the verdict will have it.
    test: String,
    #[schema(inline)]
    status: ReportedStatusSchema,
}

/// How a test ended. A later entry of the same name replaces an earlier one.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes `ReportedStatus`, which does not depend on the API")]
enum ReportedStatusSchema {
    Passed,
    Failed,
    Errored,
    Skipped,
}

problem_responses!(OutputProblems: ROUTE, WITH_KEY, WITH_ID,
    &[codes::BAD_PARAMETER, codes::MALFORMED_EVENT_ID, codes::TOO_MANY_OPEN_REQUESTS, codes::STORAGE_UNAVAILABLE]);

/// Read the output of a run
///
/// Without the media type `text/event-stream` in the header `Accept`, the answer is the whole output so far. With it,
/// the answer is live, as Server-Sent Events:
///
/// - `output`: a part of the output, with an id; the data is an `OutputEntry`.
/// - `test`: the end of a test, if the template lets its tests report it, with an id; the data is a `TestEntry`.
/// - `status`: the status of the run changed.
/// - `gap`: live output was lost; it follows completely when the attempt ends.
/// - `end`: the run as it ended; then the stream closes.
#[utoipa::path(
    get, path = "/v1/runs/{id}/output", tag = "runs", operation_id = "readOutput",
    params(
        ("id" = Uuid, Path, description = "The id of the run"), OutputParams,
        ("Last-Event-ID" = Option<String>, Header, nullable = false, pattern = "^([1-9][0-9]{0,8}-[0-9]{1,9})?$",
            description = "The last id that arrived; empty if none arrived")
    ),
    responses(
        (status = 200, description = "The output", content(
            (WholeOutput = "application/json"),
            (String = "text/plain"),
            (String = "application/x-ndjson"),
            (String = "text/event-stream"),
        )),
        OutputProblems,
    )
)]
pub(super) async fn read(
    State(api): State<ApiState>,
    State(Shutdown(shutdown)): State<Shutdown>,
    State(open_requests): State<OpenRequestLimiter>,
    caller: Caller,
    PathId(id): PathId,
    QueryParams(params): QueryParams<OutputParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers, params.after.as_deref())?;
    if params.format.is_none() && wants_events(&headers) {
        let filter = live::OutputFilter { after, stage: params.stage };
        let permit = open_requests.acquire(caller.key)?;
        return live::follow(api, caller, id, filter, shutdown, permit).await.map(IntoResponse::into_response);
    }
    let run = runs::find(&api, caller, id).await?;
    let complete = run.status.is_terminal();
    let mut entries = read_whole(&api, &run).await?;
    entries.retain(|entry| {
        after.is_none_or(|after| entry.id() > after) && params.stage.is_none_or(|stage| entry.stage() == stage)
    });
    Ok(match params.format {
        Some(OutputFormat::Text) => {
            let text: String = apart(entries).0.into_iter().map(|entry| entry.text).collect();
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
        Some(OutputFormat::Ndjson) => {
            let lines = entries.iter().flat_map(Entry::line).collect::<Vec<u8>>();
            ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
        }
        Some(OutputFormat::Json) | None => {
            let (entries, tests) = apart(entries);
            Json(WholeOutput { entries, tests, complete }).into_response()
        }
    })
}

/// Returns the pieces of output and the ends of tests, each in their order.
fn apart(entries: Vec<Entry>) -> (Vec<OutputEntry>, Vec<TestEntry>) {
    let (mut output, mut tests) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            Entry::Output(entry) => output.push(entry),
            Entry::Test(entry) => tests.push(entry),
        }
    }
    (output, tests)
}

/// Returns the id after which the client wants output. The header takes precedence over the parameter, but both must be
/// valid.
fn last_event_id(headers: &HeaderMap, after: Option<&str>) -> Result<Option<EntryId>, Problem> {
    let parse = |text: &str| text.parse().map_err(|reason: String| Problem::malformed_event_id(&reason));
    let after = after.map(parse).transpose()?;
    match headers.get("last-event-id") {
        // A browser sends an empty header when it has received no id yet.
        Some(value) if !value.is_empty() => {
            let text = value.to_str().map_err(|_| Problem::malformed_event_id("it is not text"))?;
            parse(text).map(Some)
        }
        _ => Ok(after),
    }
}

fn wants_events(headers: &HeaderMap) -> bool {
    let media_types = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut media_types = media_types.flat_map(|value| value.split(',')).filter_map(|entry| entry.split(';').next());
    media_types.any(|media_type| media_type.trim().eq_ignore_ascii_case("text/event-stream"))
}
