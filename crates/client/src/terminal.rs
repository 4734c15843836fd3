//! Output for people: lines, colours and tables.
//!
//! Colours are used only on a terminal, and only if `NO_COLOR` is not set. A closed pipe (`| head`) is not an error.
//! Text from outside passes through [`printable`] first, because escape sequences in it must not reach the terminal.
//! No output contains a character that reorders or hides text ([`assize_domain::unicode`]); JSON and XML documents
//! carry such characters as the escapes of their format.

use std::io::{IsTerminal, Write};

use anstyle::AnsiColor;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use assize_domain::unicode;
use assize_host as host;

/// The meaning of a piece of text, which has a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

impl Style {
    const fn style(self) -> anstyle::Style {
        match self {
            Self::Plain => anstyle::Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Dim => anstyle::Style::new().dimmed(),
            Self::Bold => anstyle::Style::new().bold(),
        }
    }
}

/// The stream that a command writes its output to.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    stderr: bool,
    terminal: bool,
    colour: bool,
}

impl Terminal {
    /// Returns stdout, for the result of a command.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(false, std::io::stdout().is_terminal())
    }

    /// Returns stderr, for progress while stdout is read by a program.
    #[must_use]
    pub fn stderr() -> Self {
        Self::new(true, std::io::stderr().is_terminal())
    }

    /// Returns the stream for progress: stdout, unless stdout must hold one JSON document.
    #[must_use]
    pub fn progress(json: bool) -> Self {
        if json { Self::stderr() } else { Self::stdout() }
    }

    fn new(stderr: bool, terminal: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { stderr, terminal, colour: terminal && !plain }
    }

    /// Returns whether the stream is a terminal, so that lines can be overwritten.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        self.terminal
    }

    /// Returns the size of the terminal in columns and rows, if the stream is one.
    #[must_use]
    pub fn size(self) -> Option<(u16, u16)> {
        if self.stderr { host::terminal_size(std::io::stderr()) } else { host::terminal_size(std::io::stdout()) }
    }

    /// Returns `text` in the colour of `style`, or unchanged where colours are off.
    #[must_use]
    pub fn paint(self, style: Style, text: impl std::fmt::Display) -> String {
        let style = if self.colour { style.style() } else { anstyle::Style::new() };
        format!("{style}{text}{style:#}")
    }

    /// Writes one or several lines. Of all escape sequences, only the colours of [`Terminal::paint`] are written.
    pub fn line(self, text: impl std::fmt::Display) {
        let text = text.to_string();
        let lines = text.split('\n').map(unicode::coloured).collect::<Vec<_>>();
        self.raw(&(lines.join("\n") + "\n"));
    }

    /// Writes `text` as it is, including sequences that set colours or move the cursor. All other hidden characters are
    /// escaped.
    pub fn raw(self, text: &str) {
        let text = unicode::escaped(text, |c| matches!(c, '\n' | '\t' | '\r' | '\x1b'));
        // The command has not failed if its reader closes the pipe.
        if self.stderr {
            let mut stream = std::io::stderr().lock();
            stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).ok();
        } else {
            let mut stream = std::io::stdout().lock();
            stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).ok();
        }
    }

    /// Writes a table with aligned columns. On a terminal, the table is no wider than the terminal.
    pub fn table(self, header: &[&str], rows: Vec<Vec<(Style, String)>>) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        if let Some((columns, _)) = self.size().filter(|_| self.terminal) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(columns);
        }
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
        for row in rows {
            // A caller may have forgotten to escape the text.
            table.add_row(row.into_iter().map(|(style, text)| styled(style, &printable_lines(&text))));
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        // The table's own colour sequences differ from those that `line` lets through.
        self.raw(&format!("{}\n", table.trim_fmt()));
    }
}

fn styled(style: Style, text: &str) -> Cell {
    let cell = Cell::new(text);
    match style {
        Style::Plain => cell,
        Style::Good => cell.fg(Color::Green),
        Style::Warn => cell.fg(Color::Yellow),
        Style::Bad => cell.fg(Color::Red),
        Style::Dim => cell.add_attribute(Attribute::Dim),
        Style::Bold => cell.add_attribute(Attribute::Bold),
    }
}

/// Writes a JSON document to stdout.
pub fn json(document: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(document).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    Terminal::stdout().line(unicode::escaped_json(&text));
}

/// Returns `text` as one line in which nothing can move the cursor, change the title, or hide or reorder output.
///
/// Complete colour sequences are removed, because test tools colour their output. Every other hidden character is
/// shown as its escape.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = after_sequence(rest) {
            rest = after;
            continue;
        }
        let (first, after) = rest.split_at(c.len_utf8());
        rest = after;
        match c {
            '\t' => shown.push(' '),
            _ => shown.push_str(&unicode::escaped(first, |_| false)),
        }
    }
    shown
}

/// Applies [`printable`] to each line of `text`.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Returns the rest of `text` after the control sequence (ESC, `[`, parameters, a letter) that it begins with.
fn after_sequence(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let last = parameters.find(|c: char| !matches!(c, ' '..='?'))?;
    let after = parameters[last..].strip_prefix(|c: char| matches!(c, '@'..='~'))?;
    Some(after)
}

/// Returns at most `max` characters of `text`; an ellipsis marks a cut.
#[must_use]
pub fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let shortened: String = text.chars().take(max.saturating_sub(1)).collect();
    format!("{shortened}…")
}

/// Formats a number of bytes in the largest fitting unit.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
    let (unit, shift) = UNITS.into_iter().find(|(_, shift)| count >> shift > 0).unwrap_or(("B", 0));
    if shift == 0 {
        return format!("{count} B");
    }
    let tenths = (count >> (shift - 10)) * 10 / 1024;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Formats a time in seconds in the largest fitting unit, as in "48 s", "12 min" and "3.5 h".
#[must_use]
pub fn duration(seconds: f64) -> String {
    match seconds {
        ..100.0 => format!("{seconds:.0} s"),
        ..6_000.0 => format!("{:.0} min", seconds / 60.0),
        ..360_000.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_submission_wrote_cannot_drive_the_terminal() {
        let hostile = "\x1b]0;title\x07\x1b[2Jok\r\u{202e}x\u{9b}1m";
        let shown = printable(hostile);
        assert!(!shown.contains(unicode::is_hidden), "{shown:?}");
        assert!(shown.contains("ok"));
    }

    #[test]
    fn colours_of_a_test_tool_leave_no_trace() {
        assert_eq!(printable("\x1b[1;31mFAILED\x1b[0m a\tb"), "FAILED a b");
        assert_eq!(printable("cut \x1b[31"), "cut \\u{1b}[31");
        assert_eq!(printable("\x1b[\x1b[2Jx"), "\\u{1b}[x");
    }

    #[test]
    fn sizes_are_readable() {
        let all = [0, 1023, 1024, 1536, 20_971_520, 3 << 30].map(bytes);
        assert_eq!(all, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "20.0 MiB", "3.0 GiB"]);
    }

    #[test]
    fn times_are_readable() {
        let all = [0.0, 48.4, 99.4, 100.0, 725.0, 12_600.0, 864_000.0].map(duration);
        assert_eq!(all, ["0 s", "48 s", "99 s", "2 min", "12 min", "3.5 h", "10 days"]);
    }

    #[test]
    fn a_long_text_is_cut_at_characters() {
        assert_eq!(shorten("ä".repeat(10).as_str(), 4), "äää…");
        assert_eq!(shorten("four", 4), "four");
    }
}
