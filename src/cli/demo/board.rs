//! One line for each run, overwritten in place on a terminal, written as it changes elsewhere.

use assize_client::screen::{Ink, Screen, shorten};

/// The lines on the screen.
pub struct Board {
    screen: Screen,
    names: Vec<String>,
    states: Vec<(Ink, String)>,
    /// Lines that stand on the terminal and can be overwritten.
    drawn: usize,
}

impl Board {
    /// A line for each name; nothing is drawn yet.
    #[must_use]
    pub fn new(screen: Screen, names: Vec<String>) -> Self {
        let states = vec![(Ink::Dim, String::new()); names.len()];
        Self { screen, names, states, drawn: 0 }
    }

    /// Sets the state of a line.
    pub fn set(&mut self, line: usize, ink: Ink, state: String) {
        let Some(old) = self.states.get_mut(line) else { return };
        if old.1 == state {
            return;
        }
        *old = (ink, state);
        if !self.is_live()
            && let (Some(name), Some((ink, state))) = (self.names.get(line), self.states.get(line))
        {
            self.screen.line(format!("{name}  {}", self.screen.paint(*ink, state)));
        }
    }

    /// Draws all lines over the ones that were drawn before.
    pub fn draw(&mut self) {
        if !self.is_live() {
            return;
        }
        let columns = self.screen.size().map_or(80, |(columns, _)| usize::from(columns));
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(columns / 2);
        let mut text = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        for (name, (ink, state)) in self.names.iter().zip(&self.states) {
            let state = shorten(state, columns.saturating_sub(width + 3));
            let state = self.screen.paint(*ink, state);
            text.push_str(&format!("\r\x1b[2K{:width$}  {state}\n", shorten(name, width)));
        }
        self.drawn = self.names.len();
        self.screen.raw(&text);
    }

    /// Lines can be overwritten only while all of them are on the screen.
    fn is_live(&self) -> bool {
        let rows = self.screen.size().map_or(0, |(_, rows)| usize::from(rows));
        self.screen.is_terminal() && self.names.len() < rows
    }
}
