//! Where a queued run stands and what it waits for, in a few words.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::terminal::printable;
use assize_domain::queue::{MAX_COUNTED, WaitingFor};

/// As the service tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Queue {
    pub position: i64,
    /// A later version may wait for something that this program does not know.
    pub waiting_for: String,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub estimated_start: Option<DateTime<Utc>>,
}

impl Queue {
    /// As in "3rd, waits for a slot".
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
            WaitingFor::ReservedForHeavy => "lets a heavier run go first that has waited for long",
            WaitingFor::HostPressure => "waits until the host has memory, disk and time to spare",
            WaitingFor::Draining => "waits for a new worker, the last ones are stopping",
            WaitingFor::NoWorker => "waits for a worker, there is none",
            WaitingFor::Paused => "waits for the workers, which paused after faults of the infrastructure",
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
    fn places_read_as_a_person_says_them() {
        let phrases = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111, 1000].map(ordinal);
        assert_eq!(
            phrases,
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th", "1000th or later"]
        );
    }

    #[test]
    fn what_it_waits_for_is_told_even_if_it_is_new() {
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
