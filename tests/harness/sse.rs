//! A reader of Server-Sent Events.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::DEADLINE;
use super::client::ApiRequest;

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Value,
}

pub struct Events {
    response: Response,
    text: String,
}

impl Events {
    pub async fn open(request: impl Into<ApiRequest>) -> Self {
        let response = request.into().header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// Returns the next event, or `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let event = parse(block);
                self.text = rest.to_owned();
                if let Some(event) = event {
                    return Some(event);
                }
                continue;
            }
            let piece = tokio::time::timeout(DEADLINE, self.response.chunk()).await.unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&piece?).unwrap());
        }
    }

    /// Returns the next event of this name, and drops the events before it.
    pub async fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.unwrap();
            if event.name == name {
                return event;
            }
        }
    }

    /// Returns the ids of the next `count` output events.
    pub async fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.extend(self.next_named("output").await.id);
        }
        ids
    }

    /// Returns all events to the end of the stream.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

pub fn output_ids(events: &[Event]) -> Vec<String> {
    events.iter().filter(|event| event.name == "output").filter_map(|event| event.id.clone()).collect()
}

fn parse(block: &str) -> Option<Event> {
    let value = |key: &str| {
        let mut lines = block.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        lines.next().map(|value| value.trim_start().to_owned())
    };
    let (name, data) = (value("event")?, value("data")?);
    Some(Event { name, id: value("id"), data: serde_json::from_str(&data).unwrap() })
}
