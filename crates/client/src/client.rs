//! A client of the HTTP API.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::outcome::Fault;
use crate::pack::Packed;
use crate::terminal::printable_lines;

/// The longest that connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause within a response. The service writes to an event stream at least every 15 s.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The largest response that is read into memory, in bytes. A verdict of 10,000 tests has a few MiB.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// The address of the service, and the API key.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerOptions {
    /// Send requests to the service at this address.
    #[arg(long, env = "ASSIZE_URL", default_value = "http://127.0.0.1:7700")]
    pub url: String,
    /// Authenticate with this API key. Without it, the key in the data folder of a local `assize up` is used.
    #[arg(long, env = "ASSIZE_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Read the key from this data folder of a local `assize up`.
    #[arg(long, env = "ASSIZE_DATA", default_value = "data", value_name = "DIR")]
    pub data: PathBuf,
}

impl ServerOptions {
    /// Creates a client. No request is sent yet.
    ///
    /// # Errors
    /// [`Fault::Usage`] if the address is not valid or no key is found.
    pub fn client(&self) -> Result<Client, Fault> {
        let key = match &self.key {
            Some(key) => key.clone(),
            None => self.local_key()?,
        };
        Client::new(&self.url, key.trim())
    }

    fn local_key(&self) -> Result<String, Fault> {
        let path = self.data.join("key");
        std::fs::read_to_string(&path).map_err(|error| {
            let path = path.display();
            Fault::usage(format!(
                "no API key is given, and the key of a local `assize up` cannot be read from {path} ({error}); \
                 use --key or ASSIZE_KEY, and create a key with `assize key create`"
            ))
        })
    }
}

/// A client of one service with one API key.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: HeaderValue,
}

/// A problem document (RFC 9457), with the fields that the service adds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    limit: Value,
    seen: Value,
    help: String,
}

/// The project to evaluate.
pub enum Project<'a> {
    Archive(Packed),
    Repository { url: &'a str, reference: Option<&'a str> },
}

/// The fields of a submission besides the project.
pub struct SubmissionFields<'a> {
    pub template: &'a str,
    pub user: &'a str,
    pub metadata: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
}

impl Client {
    /// Creates a client of the service at `url`.
    ///
    /// # Errors
    /// [`Fault::Usage`] if the address or the key is not valid.
    pub fn new(url: &str, key: &str) -> Result<Self, Fault> {
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Fault::usage(format!(
                "the address {url:?} does not begin with http:// or https://; correct --url"
            )));
        }
        let mut key = HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| Fault::usage("the API key contains a character that no key contains; check --key"))?;
        key.set_sensitive(true);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("assize/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Fault::infrastructure(format!("cannot create an HTTP client: {}", root_cause(&error))))?;
        Ok(Self { http, url, key })
    }

    /// Returns the address of the service.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a GET request and returns the JSON of the response.
    ///
    /// # Errors
    /// [`Fault`] with the problem that the service reported, or the reason why there was no response.
    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.json(self.request(Method::GET, path)).await
    }

    /// Returns a run.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn run(&self, id: Uuid) -> Result<Value, Fault> {
        self.get(&format!("/v1/runs/{id}")).await
    }

    /// Requests the cancellation of a run.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn cancel(&self, id: Uuid) -> Result<Value, Fault> {
        self.json(self.request(Method::POST, &format!("/v1/runs/{id}/cancel"))).await
    }

    /// Submits a project. The archive is streamed.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn submit(&self, project: Project<'_>, fields: &SubmissionFields<'_>) -> Result<Value, Fault> {
        let mut form = reqwest::multipart::Form::new()
            .text("template", fields.template.to_owned())
            .text("user", fields.user.to_owned());
        if let Some(metadata) = fields.metadata {
            form = form.text("metadata", metadata.to_owned());
        }
        form = match project {
            // The archive is last, so that the service can check the other fields before it receives the bytes.
            Project::Archive(packed) => form.part("archive", part(packed)?),
            Project::Repository { url, reference } => {
                let form = form.text("repository_url", url.to_owned());
                match reference {
                    Some(reference) => form.text("ref", reference.to_owned()),
                    None => form,
                }
            }
        };
        let mut request = self.request(Method::POST, "/v1/submissions").multipart(form);
        if let Some(key) = fields.idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        self.json(request).await
    }

    /// Returns the bytes of the response at `path`, unchanged.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn document(&self, path: &str) -> Result<Vec<u8>, Fault> {
        self.body(self.answer(self.request(Method::GET, path)).await?).await
    }

    /// Opens the response at `path`, whose bytes are read piece by piece.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn open(&self, path: &str) -> Result<Response, Fault> {
        self.answer(self.request(Method::GET, path)).await
    }

    /// The next bytes of such a response; `None` at its end.
    ///
    /// # Errors
    /// [`Fault::Infrastructure`] if the service stopped sending.
    pub async fn piece(&self, response: &mut Response) -> Result<Option<Bytes>, Fault> {
        response.chunk().await.map_err(|error| self.unreachable(&error))
    }

    /// Opens the event stream of a run, from its beginning or after the event `last_id`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn events(&self, id: Uuid, last_id: Option<&str>) -> Result<Response, Fault> {
        let mut request =
            self.request(Method::GET, &format!("/v1/runs/{id}/output")).header("Accept", "text/event-stream");
        if let Some(last_id) = last_id {
            request = request.header("Last-Event-ID", last_id);
        }
        self.answer(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header("Authorization", self.key.clone())
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Fault> {
        let body = self.body(self.answer(request).await?).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Fault::infrastructure(format!("{} sent a response that is not JSON: {error}", self.url)))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let retry_after = answer.headers().get("Retry-After").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = self.body(answer).await?;
        let problem: Option<Problem> = serde_json::from_slice(&body).ok();
        Err(refusal(&self.url, status, problem.unwrap_or_default(), retry_after.as_deref()))
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            body.extend_from_slice(&piece);
            if body.len() > MAX_BODY {
                return Err(Fault::infrastructure(format!(
                    "{} sent a response of more than {MAX_BODY} bytes",
                    self.url
                )));
            }
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Fault {
        let reason = root_cause(error);
        Fault::infrastructure(format!(
            "assize does not answer at {}: {reason}; start it with `assize up`, or set its address with --url or ASSIZE_URL",
            self.url
        ))
    }
}

fn part(packed: Packed) -> Result<reqwest::multipart::Part, Fault> {
    let stream = tokio_util::io::ReaderStream::new(tokio::fs::File::from_std(packed.file));
    reqwest::multipart::Part::stream_with_length(reqwest::Body::wrap_stream(stream), packed.bytes)
        .file_name("project.zip")
        .mime_str("application/zip")
        .map_err(|error| Fault::infrastructure(root_cause(&error)))
}

/// Deserializes a value that the service sent.
///
/// # Errors
/// [`Fault::Infrastructure`] if the service has another version, whose values differ.
pub fn read<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T, Fault> {
    T::deserialize(value).map_err(|error| {
        Fault::infrastructure(format!(
            "the service sent a {what} that this program cannot read ({error}); check that both have the same version"
        ))
    })
}

/// Returns the fault for a response that is not a success, as sentences.
fn refusal(url: &str, status: StatusCode, problem: Problem, retry_after: Option<&str>) -> Fault {
    let mut text = match (problem.title.as_str(), problem.detail.as_str()) {
        ("", "") => format!("{url} answered {status}"),
        (title, "") => title.to_owned(),
        // The detail describes this case; the title only names the kind of problem.
        (_, detail) => detail.to_owned(),
    };
    let named = [("limit", scalar(&problem.limit)), ("seen", scalar(&problem.seen))];
    let missing = named.iter().filter_map(|(name, value)| {
        let value = value.as_ref().filter(|value| !text.contains(value.as_str()))?;
        Some(format!("{name} {value}"))
    });
    let missing = missing.collect::<Vec<_>>().join(", ");
    if !missing.is_empty() {
        text.push_str(&format!(" ({missing})"));
    }
    if let Some(seconds) = retry_after {
        text.push_str(&format!("; try again in {seconds} s"));
    }
    let help = match status {
        _ if !problem.help.is_empty() => problem.help.as_str(),
        StatusCode::UNAUTHORIZED => "check the key: --key, ASSIZE_KEY, or the key of `assize up`",
        StatusCode::FORBIDDEN => "use a key with another role; see `assize key create --help`",
        _ => "",
    };
    if !help.is_empty() {
        text.push_str(&format!("\nhelp: {help}"));
    }
    let text = printable_lines(&text);
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Fault::Infrastructure(text)
    } else {
        Fault::Usage(text)
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Returns the innermost cause: "connection refused" rather than "error sending request".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut reason = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    reason.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal_of(status: u16, problem: Value) -> Fault {
        refusal("http://x", StatusCode::from_u16(status).unwrap(), serde_json::from_value(problem).unwrap(), None)
    }

    #[test]
    fn a_problem_is_reported_with_limit_seen_and_help() {
        let fault = refusal_of(
            413,
            serde_json::json!({ "type": "about:blank", "title": "Archive too large", "status": 413,
                "detail": "the upload is longer than allowed", "limit": 100, "seen": 101, "help": "leave out build output" }),
        );
        let expected = "the upload is longer than allowed (limit 100, seen 101)\nhelp: leave out build output";
        assert_eq!(fault.to_string(), expected);
        assert!(matches!(fault, Fault::Usage(_)));
    }

    #[test]
    fn a_server_in_trouble_is_not_the_callers_fault() {
        assert!(matches!(refusal_of(503, serde_json::json!({ "title": "Busy" })), Fault::Infrastructure(_)));
        assert!(matches!(refusal_of(429, serde_json::json!({ "title": "Full" })), Fault::Infrastructure(_)));
        assert_eq!(refusal_of(502, serde_json::json!({})).to_string(), "http://x answered 502 Bad Gateway");
    }

    #[test]
    fn a_problem_cannot_drive_the_terminal() {
        let fault = refusal_of(400, serde_json::json!({ "title": "No", "detail": "bad name \u{1b}[2J" }));
        assert!(!fault.to_string().contains('\u{1b}'));
    }
}
