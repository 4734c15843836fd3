//! One line per run. On a terminal, lines are overwritten in place; elsewhere, each change is a new line.

use assize_client::terminal::{Style, Terminal, shorten};

/// The lines of all runs.
pub struct Board {
    terminal: Terminal,
    names: Vec<String>,
    states: Vec<(Style, String)>,
    /// The number of lines on the terminal that can be overwritten.
    drawn: usize,
}

impl Board {
    /// Creates a line for each name. Nothing is drawn yet.
    #[must_use]
    pub fn new(terminal: Terminal, names: Vec<String>) -> Self {
        let states = vec![(Style::Dim, String::new()); names.len()];
        Self { terminal, names, states, drawn: 0 }
    }

    /// Sets the state of a line.
    pub fn set(&mut self, line: usize, style: Style, state: String) {
        let Some(old) = self.states.get_mut(line) else { return };
        if old.1 == state {
            return;
        }
        *old = (style, state);
        if !self.is_live()
            && let (Some(name), Some((style, state))) = (self.names.get(line), self.states.get(line))
        {
            self.terminal.line(format!("{name}  {}", self.terminal.paint(*style, state)));
        }
    }

    /// Draws all lines in place of those that were drawn before.
    pub fn draw(&mut self) {
        if !self.is_live() {
            return;
        }
        let columns = self.terminal.size().map_or(80, |(columns, _)| usize::from(columns));
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(columns / 2);
        let mut text = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        for (name, (style, state)) in self.names.iter().zip(&self.states) {
            let state = shorten(state, columns.saturating_sub(width + 3));
            let state = self.terminal.paint(*style, state);
            text.push_str(&format!("\r\x1b[2K{:width$}  {state}\n", shorten(name, width)));
        }
        self.drawn = self.names.len();
        self.terminal.raw(&text);
    }

    /// Returns whether lines can be overwritten: all of them must fit on the terminal.
    fn is_live(&self) -> bool {
        let rows = self.terminal.size().map_or(0, |(_, rows)| usize::from(rows));
        self.terminal.is_terminal() && self.names.len() < rows
    }
}
