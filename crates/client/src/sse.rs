//! A parser of Server-Sent Events that accepts bytes as they arrive.

/// The largest event, in bytes. A piece of output has at most 64 KiB of text, which JSON may make six times as long.
const MAX_EVENT: usize = 1024 * 1024;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The id of the event, or the last id before it.
    pub id: Option<String>,
    /// The name of the event; `message` if the server sent none.
    pub name: String,
    pub data: String,
}

/// The server sent an event that is longer than [`MAX_EVENT`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MAX_EVENT} bytes")]
pub struct TooLong;

/// Parses bytes, in pieces of any size, into events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// Whether the last byte was a CR that ended a line; an LF after it belongs to the same line end.
    after_cr: bool,
    begun: bool,
    id: Option<String>,
    name: String,
    data: Option<String>,
}

impl Parser {
    /// Returns the events that `bytes` complete.
    ///
    /// # Errors
    /// [`TooLong`]. The rest of the stream cannot be parsed after it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let follows_cr = std::mem::take(&mut self.after_cr);
            match byte {
                b'\n' if follows_cr => {}
                b'\n' => events.extend(self.end_line()),
                b'\r' => {
                    self.after_cr = true;
                    events.extend(self.end_line());
                }
                other => {
                    self.line.push(*other);
                    if self.line.len() + self.data.as_ref().map_or(0, String::len) > MAX_EVENT {
                        return Err(TooLong);
                    }
                }
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if self.begun { &line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.begun = true;
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, as in a keep-alive, or `retry`: this client has its own backoff.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let data = self.data.take()?;
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(Event { id: self.id.clone(), name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}: hello\n\nevent: output\nid: 1-1\ndata: {\"text\":\"ä\"}\n\n\
        event: status\r\ndata:one\r\ndata: two\r\n\r\nretry: 5\n\n:keep-alive\n\rdata\n\nid: 1-2\n\nevent: end\ndata: {}\n\n";

    fn expected() -> Vec<Event> {
        let event = |name: &str, data: &str, id: Option<&str>| Event {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            data: data.to_owned(),
        };
        vec![
            event("output", "{\"text\":\"ä\"}", Some("1-1")),
            event("status", "one\ntwo", Some("1-1")),
            event("message", "", Some("1-1")),
            event("end", "{}", Some("1-2")),
        ]
    }

    #[test]
    fn the_stream_may_be_cut_at_every_byte() {
        let bytes = STREAM.as_bytes();
        for at in 0..=bytes.len() {
            let mut parser = Parser::default();
            let mut events = parser.feed(&bytes[..at]).unwrap();
            events.extend(parser.feed(&bytes[at..]).unwrap());
            assert_eq!(events, expected(), "cut at {at}");
        }
    }

    #[test]
    fn one_byte_at_a_time_is_the_same() {
        let mut parser = Parser::default();
        let events: Vec<Event> = STREAM.bytes().flat_map(|byte| parser.feed(&[byte]).unwrap()).collect();
        assert_eq!(events, expected());
    }

    #[test]
    fn an_event_without_its_blank_line_is_not_returned() {
        assert_eq!(Parser::default().feed(b"event: end\ndata: {}\n").unwrap(), []);
    }

    #[test]
    fn an_endless_event_is_rejected() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MAX_EVENT / 2];
        parser.feed(b"data: ").unwrap();
        parser.feed(&piece).unwrap();
        assert_eq!(parser.feed(&piece), Err(TooLong));
    }
}
