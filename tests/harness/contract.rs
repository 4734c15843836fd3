//! The check of every answer against the OpenAPI document.
//!
//! A test fails if an answer has a status, a media type, a code or a member that the document does not describe, or lacks
//! a member or a header that the document promises.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::{Draft, Validator};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The document that the service generates; its schemas allow no member that they do not describe.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = serde_json::from_str(&assize::api::openapi_document()).unwrap();
    close(&mut document);
    document
});

/// Compiled schemas by their place in the document.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// An answer as it was received.
pub struct Answer<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    /// `None` for a stream, whose body is not checked.
    pub body: Option<&'a [u8]>,
}

impl Answer<'_> {
    /// Panics if the document does not describe the answer.
    pub fn check(&self) {
        if let Err(reason) = self.checked() {
            let Self { method, path, status, body, .. } = self;
            let body = String::from_utf8_lossy(body.unwrap_or_default());
            let body: String = body.chars().take(2000).collect();
            panic!("docs/openapi.json does not describe {method} {path} -> {status}: {reason}\n{body}");
        }
    }

    fn checked(&self) -> Result<(), String> {
        let Some(operation) = self.operation() else { return self.check_undescribed() };
        let place = format!("{operation}/responses/{}", self.status.as_u16());
        let response = DOCUMENT.pointer(&place).ok_or("the status is not described")?;
        let headers = response["headers"].as_object().into_iter().flatten();
        if let Some((missing, _)) = headers.into_iter().find(|(name, _)| !self.headers.contains_key(name.as_str())) {
            return Err(format!("the header {missing} is missing"));
        }
        let content = response["content"].as_object();
        let media_type = self.media_type();
        match (content, self.body) {
            (_, Some([])) if self.method == Method::HEAD => Ok(()),
            (None, Some([])) => Ok(()),
            (None, _) => Err("a body is not described".to_owned()),
            (Some(content), _) if !content.contains_key(&media_type) => {
                Err(format!("the media type {media_type:?} is not described"))
            }
            (Some(_), None) => Ok(()),
            (Some(_), Some(body)) if media_type.ends_with("json") && !media_type.ends_with("ndjson") => {
                let name = media_type.replace('~', "~0").replace('/', "~1");
                check_json(&format!("{place}/content/{name}/schema"), body)
            }
            (Some(_), Some(_)) if media_type.starts_with("image/") || media_type == "application/pdf" => Ok(()),
            (Some(_), Some(body)) => {
                std::str::from_utf8(body).map(drop).map_err(|error| format!("the body is not text: {error}"))
            }
        }
    }

    /// Returns the place of the operation in the document.
    fn operation(&self) -> Option<String> {
        let method = if self.method == Method::HEAD { "get".to_owned() } else { self.method.as_str().to_lowercase() };
        let paths = DOCUMENT["paths"].as_object().unwrap();
        let (path, item) = paths.iter().find(|(pattern, _)| matches(pattern, self.path))?;
        item.get(&method)?;
        Some(format!("/paths/{}/{method}", path.replace('~', "~0").replace('/', "~1")))
    }

    /// An answer for a path or a method that the document does not have is a problem, or the document itself.
    fn check_undescribed(&self) -> Result<(), String> {
        if self.path == "/v1/openapi.json" && self.status == StatusCode::OK {
            return Ok(());
        }
        match (self.media_type().as_str(), self.body) {
            ("application/problem+json", Some([])) if self.method == Method::HEAD => Ok(()),
            ("application/problem+json", Some(body)) => check_json("/components/schemas/Problem", body),
            (media_type, _) => Err(format!("the media type is {media_type:?}, not that of a problem")),
        }
    }

    fn media_type(&self) -> String {
        let value = self.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_owned()
    }
}

/// Checks the answer to a request that a test wrote byte by byte, if the answer is a problem.
pub fn check_raw(request: &[u8], answer: &str) {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return };
    let request = String::from_utf8_lossy(request);
    let mut words = request.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let (Ok(method), Some(path)) = (method.parse::<Method>(), target.split('?').next()) else { return };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let (Some(status), true) = (status, head.contains("application/problem+json")) else { return };
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: HashMap<String, String> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let headers = HeaderMap::try_from(&headers).unwrap();
    Answer { method: &method, path, status, headers: &headers, body: Some(body.as_bytes()) }.check();
}

fn matches(pattern: &str, path: &str) -> bool {
    // The name of an artifact takes the rest of the path.
    if let Some(before) = pattern.strip_suffix("/{name}") {
        let count = before.split('/').count();
        let folder = path.split('/').take(count).collect::<Vec<_>>().join("/");
        return path.split('/').count() > count && matches(before, &folder);
    }
    let mut segments = path.split('/');
    let all = pattern.split('/').all(|wanted| {
        segments.next().is_some_and(|segment| wanted == segment || (wanted.starts_with('{') && !segment.is_empty()))
    });
    all && segments.next().is_none()
}

fn check_json(place: &str, body: &[u8]) -> Result<(), String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
    let errors: Vec<_> =
        validator(place).iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("\n")) }
}

fn validator(place: &str) -> Arc<Validator> {
    let mut validators = VALIDATORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let validator = validators.entry(place.to_owned()).or_insert_with(|| {
        let schema =
            json!({ "components": DOCUMENT["components"], "$ref": "#/checked", "checked": DOCUMENT.pointer(place) });
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        Arc::new(options.build(&schema).unwrap_or_else(|error| panic!("{place}: {error}")))
    });
    Arc::clone(validator)
}

/// Makes every schema with properties reject other members. A schema that is a part of an `allOf` stays open, and the
/// schema with the `allOf` rejects them instead.
fn close(document: &mut Value) {
    let mut open = Vec::new();
    collect_parts(document, &mut open);
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        for (name, schema) in schemas {
            if !open.contains(&format!("#/components/schemas/{name}")) {
                close_schema(schema);
            }
        }
    }
    if let Some(paths) = document.get_mut("paths") {
        close_contents(paths);
    }
}

fn close_schema(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut()
        && (object.contains_key("properties") || object.contains_key("allOf"))
        && !object.contains_key("additionalProperties")
    {
        object.insert("unevaluatedProperties".to_owned(), false.into());
    }
}

fn close_contents(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                if key == "schema" { close_schema(value) } else { close_contents(value) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close_contents),
        _ => {}
    }
}

/// Collects the references to schemas that are a part of an `allOf`.
fn collect_parts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let parts = object.get("allOf").and_then(Value::as_array).into_iter().flatten();
            found.extend(parts.filter_map(|part| part["$ref"].as_str().map(str::to_owned)));
            object.values().for_each(|value| collect_parts(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_parts(value, found)),
        _ => {}
    }
}
