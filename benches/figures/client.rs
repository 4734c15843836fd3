//! The platform's side: submits over HTTP and waits for runs to end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use assize_host::clock::Clock;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use uuid::Uuid;

/// Of the form; it appears in no archive but by a chance of 1 in 2^128 and more.
const BOUNDARY: &str = "figures-7d1c0f3e5b9a4e66a1f0c2d8b7e39455";

/// A client that keeps its connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

/// A submission that was taken in.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    pub run: Uuid,
    /// When the 202 was here: on the clock of this process, and on the wall.
    pub at: Instant,
    pub at_wall: DateTime<Utc>,
}

impl Client {
    pub fn new(url: &str, key: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(60))
            .pool_idle_timeout(Duration::from_secs(60))
            .tcp_nodelay(true)
            .no_proxy()
            .build()?;
        Ok(Self { http, url: url.to_owned(), key: format!("Bearer {key}") })
    }

    /// Sends a form that was made before.
    pub async fn submit(&self, form: Bytes) -> Result<Accepted> {
        let request = self
            .http
            .post(format!("{}/v1/submissions", self.url))
            .header(AUTHORIZATION, &self.key)
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
            .body(form);
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        let (at, at_wall) = (Clock::system().monotonic(), Clock::system().wall());
        if status != reqwest::StatusCode::ACCEPTED {
            bail!("a submission was answered with {status}: {}", String::from_utf8_lossy(&body));
        }
        let body: Value = serde_json::from_slice(&body)?;
        let run = body["run"]["id"].as_str().context("the 202 names no run")?.parse()?;
        Ok(Accepted { run, at, at_wall })
    }

    /// What a run wrote.
    pub async fn output(&self, run: Uuid) -> Result<String> {
        let request =
            self.http.get(format!("{}/v1/runs/{run}/output?format=text", self.url)).header(AUTHORIZATION, &self.key);
        Ok(request.send().await?.error_for_status()?.text().await?)
    }
}

/// A whole form for `template`, of a user of its own so that no cap on users counts.
pub fn form(template: &str, archive: &[u8]) -> Bytes {
    let user = Uuid::now_v7().simple().to_string();
    let mut body = Vec::with_capacity(archive.len() + 512);
    for (name, value) in [("template", template), ("user", &user)] {
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(head.as_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"archive\"; filename=\"p.zip\"\r\n\
         content-type: application/zip\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(archive);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body.into()
}
