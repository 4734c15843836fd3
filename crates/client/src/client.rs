//! The HTTP API as the command line calls it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::outcome::Fault;
use crate::pack::Packed;
use crate::terminal::printable_lines;

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest silence of a server that is answering. Event streams say something every 15 s.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest body that is read into memory, in bytes: a verdict of 10,000 tests has a few MiB.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Where the service is, and who asks.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerOptions {
    /// Address of the service.
    #[arg(long, env = "ASSIZE_URL", default_value = "http://127.0.0.1:7700")]
    pub url: String,
    /// API key; else the one that a local `assize up` left in its data folder.
    #[arg(long, env = "ASSIZE_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// Data folder of a local `assize up`, to take its key from.
    #[arg(long, env = "ASSIZE_DATA", default_value = "data", value_name = "DIR")]
    pub data: PathBuf,
}

impl ServerOptions {
    /// A client for it. Asks nothing yet.
    ///
    /// # Errors
    /// If the address is none or there is no key.
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
                "no API key: give --key or set ASSIZE_KEY (make one with `assize key create`); \
                 without them the key of a local `assize up` is used, but {path}: {error}"
            ))
        })
    }
}

/// A connection to the service.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: HeaderValue,
}

/// What the service says is wrong (RFC 9457), with the fields that it adds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    limit: Value,
    seen: Value,
    help: String,
}

/// What is to be evaluated.
pub enum Project<'a> {
    Archive(Packed),
    Repository { url: &'a str, reference: Option<&'a str> },
}

/// A submission about to be sent.
pub struct SubmissionFields<'a> {
    pub template: &'a str,
    pub user: &'a str,
    pub metadata: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
}

impl Client {
    /// A client of the service at `url`.
    ///
    /// # Errors
    /// If the address or the key cannot be one.
    pub fn new(url: &str, key: &str) -> Result<Self, Fault> {
        let url = url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Fault::usage(format!("the address {url:?} must begin with http:// or https://; see --url")));
        }
        let mut key = HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| Fault::usage("the API key holds a character that no key has; see --key"))?;
        key.set_sensitive(true);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("assize/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Fault::infrastructure(format!("cannot make an HTTP client: {}", root_cause(&error))))?;
        Ok(Self { http, url, key })
    }

    /// The address that is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The answer to a GET.
    ///
    /// # Errors
    /// [`Fault`] with what the service said, or why it said nothing.
    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.json(self.request(Method::GET, path)).await
    }

    /// A run as the service tells it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn run(&self, id: Uuid) -> Result<Value, Fault> {
        self.get(&format!("/v1/runs/{id}")).await
    }

    /// Asks for a run to be cancelled.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn cancel(&self, id: Uuid) -> Result<Value, Fault> {
        self.json(self.request(Method::POST, &format!("/v1/runs/{id}/cancel"))).await
    }

    /// Sends a project; the archive is streamed.
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
            // Last, so that the service has seen the rest before the bytes come.
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

    /// What the service has at `path`, as it sends it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn document(&self, path: &str) -> Result<Vec<u8>, Fault> {
        self.body(self.answer(self.request(Method::GET, path)).await?).await
    }

    /// The events of a run, from the beginning or after `last_id`.
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
        serde_json::from_slice(&body).map_err(|error| {
            Fault::infrastructure(format!("{} answered with something that is no JSON: {error}", self.url))
        })
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
                return Err(Fault::infrastructure(format!("{} answered with more than {MAX_BODY} bytes", self.url)));
            }
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Fault {
        let reason = root_cause(error);
        Fault::infrastructure(format!(
            "assize does not answer at {}: {reason}; start it with `assize up`, or give its address with --url or ASSIZE_URL",
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

/// Reads a value that the service sent.
///
/// # Errors
/// If the service is of a version that sends something else.
pub fn read<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T, Fault> {
    T::deserialize(value).map_err(|error| {
        Fault::infrastructure(format!(
            "the service sent a {what} that this program cannot read ({error}); are both of one version?"
        ))
    })
}

/// What the service refused, as sentences.
fn refusal(url: &str, status: StatusCode, problem: Problem, retry_after: Option<&str>) -> Fault {
    let mut text = match (problem.title.as_str(), problem.detail.as_str()) {
        ("", "") => format!("{url} answered {status}"),
        (title, "") => title.to_owned(),
        // The title only says in general what the detail says of this case.
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

/// The innermost reason: "connection refused" rather than "error sending request".
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
    fn a_problem_is_told_with_limit_seen_and_help() {
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
