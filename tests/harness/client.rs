//! An HTTP client that checks every answer against the OpenAPI document.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Display;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::multipart::Form;
use reqwest::{Body, Client, Method, RequestBuilder, Response};
use serde::Serialize;

use super::DEADLINE;
use super::contract::Answer;

/// A client of the API.
#[derive(Clone)]
pub struct ApiClient(Client);

/// A request to the API.
pub struct ApiRequest(RequestBuilder);

impl ApiClient {
    pub fn new() -> Self {
        Self(Client::builder().timeout(DEADLINE).build().unwrap())
    }

    pub fn get(&self, url: impl AsRef<str>) -> ApiRequest {
        self.request(Method::GET, url)
    }

    pub fn post(&self, url: impl AsRef<str>) -> ApiRequest {
        self.request(Method::POST, url)
    }

    pub fn delete(&self, url: impl AsRef<str>) -> ApiRequest {
        self.request(Method::DELETE, url)
    }

    pub fn request(&self, method: Method, url: impl AsRef<str>) -> ApiRequest {
        ApiRequest(self.0.request(method, url.as_ref()))
    }
}

impl From<Client> for ApiClient {
    fn from(client: Client) -> Self {
        Self(client)
    }
}

impl From<RequestBuilder> for ApiRequest {
    fn from(request: RequestBuilder) -> Self {
        Self(request)
    }
}

impl ApiRequest {
    pub fn bearer_auth(self, key: impl Display) -> Self {
        Self(self.0.bearer_auth(key))
    }

    pub fn basic_auth(self, user: &str, password: Option<&str>) -> Self {
        Self(self.0.basic_auth(user, password))
    }

    pub fn header<V>(self, name: &str, value: V) -> Self
    where
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<axum::http::Error>,
    {
        Self(self.0.header(name.parse::<HeaderName>().unwrap(), value))
    }

    pub fn body(self, body: impl Into<Body>) -> Self {
        Self(self.0.body(body))
    }

    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.json(body))
    }

    pub fn multipart(self, form: Form) -> Self {
        Self(self.0.multipart(form))
    }

    pub fn try_clone(&self) -> Option<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends the request, reads the answer and checks it. The body of a stream is neither read nor checked.
    pub async fn send(self) -> reqwest::Result<Response> {
        let (client, request) = self.0.build_split();
        let request = request?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = client.execute(request).await?;
        let (status, version, headers) = (response.status(), response.version(), response.headers().clone());
        let answer = |body| Answer { method: &method, path: &path, status, headers: &headers, body };
        if headers.get("content-type").is_some_and(|value| value == "text/event-stream") {
            answer(None).check();
            return Ok(response);
        }
        let body = response.bytes().await?;
        answer(Some(&body)).check();
        let mut copy = axum::http::Response::new(body);
        (*copy.status_mut(), *copy.version_mut(), *copy.headers_mut()) = (status, version, headers.clone());
        Ok(copy.into())
    }
}
