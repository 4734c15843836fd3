//! What is written for people: lines, colours, tables.
//!
//! Colours only on a terminal and only without `NO_COLOR`. A reader that went away (`| head`) is no
//! error. Whatever comes from outside passes through [`printable`] first: escape sequences in it must
//! not reach the terminal. Nothing at all goes out with a character that reorders or hides
//! ([`assize_domain::unicode`]); documents for programs have them as their format's own escapes.

use std::io::{IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use assize_domain::unicode;
use assize_host as host;

/// A meaning that has a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

impl Ink {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Dim => "2",
            Self::Bold => "1",
        }
    }
}

/// Where a command writes what it has to say.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    stderr: bool,
    terminal: bool,
    colour: bool,
}

impl Screen {
    /// What a command was asked for.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(false, std::io::stdout().is_terminal())
    }

    /// How it is getting on, when stdout is for a program.
    #[must_use]
    pub fn stderr() -> Self {
        Self::new(true, std::io::stderr().is_terminal())
    }

    /// Progress: on stdout, unless that is to hold one JSON document.
    #[must_use]
    pub fn progress(json: bool) -> Self {
        if json { Self::stderr() } else { Self::stdout() }
    }

    fn new(stderr: bool, terminal: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { stderr, terminal, colour: terminal && !plain }
    }

    /// Whether lines can be overwritten.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        self.terminal
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(self) -> Option<(u16, u16)> {
        if self.stderr { host::terminal_size(std::io::stderr()) } else { host::terminal_size(std::io::stdout()) }
    }

    /// `text` in a colour, where there are colours.
    #[must_use]
    pub fn paint(self, ink: Ink, text: impl std::fmt::Display) -> String {
        if self.colour && ink != Ink::Plain { format!("\x1b[{}m{text}\x1b[0m", ink.code()) } else { text.to_string() }
    }

    /// Writes a line, or several; of escape sequences only the colours of [`Screen::paint`] go out.
    pub fn line(self, text: impl std::fmt::Display) {
        let text = text.to_string();
        let lines = text.split('\n').map(unicode::coloured).collect::<Vec<_>>();
        self.raw(&(lines.join("\n") + "\n"));
    }

    /// Writes `text`, in which nothing is hidden but what colours and moves are made of.
    pub fn raw(self, text: &str) {
        let text = unicode::escaped(text, |c| matches!(c, '\n' | '\t' | '\r' | '\x1b'));
        // A reader that has seen enough is not a failure of the command.
        if self.stderr {
            let mut stream = std::io::stderr().lock();
            stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).ok();
        } else {
            let mut stream = std::io::stdout().lock();
            stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).ok();
        }
    }

    /// Writes a table: aligned columns, on a terminal no wider than it is.
    pub fn table(self, header: &[&str], rows: Vec<Vec<(Ink, String)>>) {
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
            // What a caller forgot shall not drive the terminal either.
            table.add_row(row.into_iter().map(|(ink, text)| inked(ink, &printable_lines(&text))));
        }
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        // Its colours are others.
        self.raw(&format!("{}\n", table.trim_fmt()));
    }
}

fn inked(ink: Ink, text: &str) -> Cell {
    let cell = Cell::new(text);
    match ink {
        Ink::Plain => cell,
        Ink::Good => cell.fg(Color::Green),
        Ink::Warn => cell.fg(Color::Yellow),
        Ink::Bad => cell.fg(Color::Red),
        Ink::Dim => cell.add_attribute(Attribute::Dim),
        Ink::Bold => cell.add_attribute(Attribute::Bold),
    }
}

/// Writes a document for a program.
pub fn json(document: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(document).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    Screen::stdout().line(unicode::escaped_json(&text));
}

/// `text` in one line and without what could move a cursor, change a title, or hide or reorder what was written.
///
/// Whole escape sequences go, for test tools colour what they say; of others, and of every other character that
/// is not seen, the escape is shown.
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

/// [`printable`] for text that may have several lines.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// What follows the control sequence (ESC, `[`, parameters, a letter) that `text` begins with.
fn after_sequence(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let last = parameters.find(|c: char| !matches!(c, ' '..='?'))?;
    let after = parameters[last..].strip_prefix(|c: char| matches!(c, '@'..='~'))?;
    Some(after)
}

/// At most `most` characters of `text`, with a sign where some were left out.
#[must_use]
pub fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Bytes as a person reads them.
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
    fn a_long_text_is_cut_at_characters() {
        assert_eq!(shorten("ä".repeat(10).as_str(), 4), "äää…");
        assert_eq!(shorten("four", 4), "four");
    }
}
