//! Log lines in which nothing is hidden.
//!
//! A line quotes what others chose: messages of a failed run, hosts, errors of services. Whatever character of it
//! would reorder the line, end it or not be seen ([`assize_domain::unicode`]) is written as an escape, in one place for
//! all lines. A field that is displayed may bring escape sequences, for which the formatter itself does not look.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use assize_domain::unicode::{coloured, escaped, escaped_json};

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    Json,
    /// With the formatter's colours.
    Coloured,
    Text,
}

/// Writes to another writer, line by line, what nothing hides in. The formatter gives each line in one piece.
#[derive(Debug, Clone, Copy)]
pub struct Plain<M> {
    pub inner: M,
    pub lines: Lines,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Plain<M> {
    type Writer = PlainWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        PlainWriter { inner: self.inner.make_writer(), lines: self.lines }
    }
}

/// One line's writer.
#[derive(Debug)]
pub struct PlainWriter<W> {
    inner: W,
    lines: Lines,
}

impl<W: Write> Write for PlainWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.inner.write_all(plain(self.lines, &String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn plain(lines: Lines, line: &str) -> String {
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    let text = match lines {
        Lines::Json => escaped_json(text),
        // A line feed within a line would begin another, which nobody logged.
        Lines::Coloured => coloured(text),
        Lines::Text => escaped(text, |_| false),
    };
    format!("{text}{end}")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use assize_domain::unicode::{COLOURS, is_hidden};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "why\u{202e}\u{2028}\u{ad}\u{e0041}\u{1b}[2J\u{9b}1m\r\nERROR forged é";

    fn logged(lines: Lines) -> String {
        let kept = Kept::default();
        let to = kept.clone();
        let writer = Plain { inner: move || to.clone(), lines };
        let layer = tracing_subscriber::fmt::layer().with_writer(writer);
        let log = || {
            tracing::warn!(why = HOSTILE, shown = %HOSTILE, seen = ?HOSTILE, "{HOSTILE}");
        };
        match lines {
            Lines::Json => {
                tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.json()), log);
            }
            _ => {
                let layer = layer.with_ansi(lines == Lines::Coloured);
                tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
            }
        }
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_one_line_and_hides_nothing() {
        for lines in [Lines::Text, Lines::Json] {
            let line = logged(lines);
            let text = line.strip_suffix('\n').unwrap();
            assert!(!text.contains(is_hidden), "{lines:?}: {text:?}");
            assert!(text.contains('é'), "{text}");
        }
    }

    #[test]
    fn a_json_line_keeps_its_values() {
        let line: serde_json::Value = serde_json::from_str(&logged(Lines::Json)).unwrap();
        assert_eq!(line["fields"]["why"], HOSTILE);
    }

    #[test]
    fn of_escape_sequences_only_the_formatters_own_colours_stay() {
        let line = logged(Lines::Coloured);
        let text = line.strip_suffix('\n').unwrap();
        assert!(!text.contains(|c| is_hidden(c) && c != '\x1b'), "{text:?}");
        assert!(text.contains(COLOURS[2]), "the formatter's own stay: {text:?}");
        let mut sequences = text.split('\x1b').skip(1);
        let is_colour = |after: &str| COLOURS.iter().any(|colour| after.starts_with(&colour[1..]));
        assert!(sequences.all(is_colour), "{text:?}");
    }
}
