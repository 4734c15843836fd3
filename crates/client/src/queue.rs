//! The queue position of a run and the reason why it waits, in a few words.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::terminal::printable;
use assize_domain::queue::{MAX_COUNTED, WaitingFor};

/// The queue position of a run and the reason why it waits, as the service reports them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Queue {
    pub position: i64,
    /// The reason. A later version of the service may report a reason that this program does not know.
    pub waiting_for: String,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub estimated_start: Option<DateTime<Utc>>,
}

impl Queue {
    /// Returns position and reason, as in "3rd, waits for a slot".
    #[must_use]
    pub fn phrase(&self) -> String {
        format!("{}, {}", ordinal(self.position), self.why())
    }

    fn why(&self) -> String {
        let Ok(known) = self.waiting_for.parse() else { return format!("waits for {}", printable(&self.waiting_for)) };
        let words = match known {
            WaitingFor::Slots => "waits for a slot",
            WaitingFor::BrowserCap => "waits until fewer runs of class B and C are active",
            WaitingFor::ApiCap => "waits until fewer runs of class A are active",
            WaitingFor::OrgCap => "waits for another run of its organisation to end",
            WaitingFor::UserCap => "waits for another run of its user to end",
            WaitingFor::ReservedForHeavy => "waits for a heavier run that has waited longer",
            WaitingFor::HostPressure => "waits until the host has enough free memory, disk and CPU time",
            WaitingFor::Draining => "waits for another worker, because all are draining",
            WaitingFor::NoWorker => "waits for a worker, because none is running",
            WaitingFor::Paused => "waits for the workers, which are paused",
            WaitingFor::RetryBackoff => "waits for its next attempt",
        };
        words.to_owned()
    }
}

fn ordinal(number: i64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    let more = if number >= MAX_COUNTED { " or later" } else { "" };
    format!("{number}{ending}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordinal_numbers() {
        let phrases = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111, 1000].map(ordinal);
        assert_eq!(
            phrases,
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th", "1000th or later"]
        );
    }

    #[test]
    fn an_unknown_reason_to_wait_is_shown_as_it_is() {
        let queue = |waiting_for: &str| Queue {
            position: 3,
            waiting_for: waiting_for.to_owned(),
            detail: String::new(),
            estimated_start: None,
        };
        assert_eq!(queue("slots").phrase(), "3rd, waits for a slot");
        assert_eq!(queue("moon\u{1b}").phrase(), "3rd, waits for moon\\u{1b}");
    }
}
