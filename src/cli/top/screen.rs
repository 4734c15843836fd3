//! The picture that `assize top` shows, as lines of text.

use std::fmt::Write;

use assize_client::terminal::{Style, Terminal, duration, printable, shorten};

use super::super::workers::{is_live, pause_line, slots, slots_used, state};
use super::{FAILURES_S, Snapshot};

/// A line of the picture.
pub type Line = (Style, String);

/// The characters of the bar of slots.
const BAR_CHARS: i64 = 30;

/// The size of the picture where the terminal does not tell its own.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// Returns the lines of a picture, the most important first. The first line is free for a fault.
#[must_use]
pub fn lines(seen: &Snapshot) -> Vec<Line> {
    let mut lines = vec![(Style::Dim, format!("{}; ctrl-c ends this", seen.at.format("%F %T UTC")))];
    lines.push((Style::Plain, slots_line(seen)));
    if seen.stale_runs > 0 {
        let stale = format!("        {} leases were not renewed in time; look at the workers' logs", seen.stale_runs);
        lines.push((Style::Bad, stale));
    }
    lines.push((Style::Plain, format!("queue   {}", seen.queue.sentence())));
    if let Some(pause) = &seen.queue.pause {
        lines.push((Style::Warn, format!("        {}", pause_line(pause))));
    }
    for group in seen.queue.of_kind("reason") {
        let wait = group.oldest_wait_s.map_or_else(String::new, duration);
        lines.push((Style::Plain, format!("        {:<24} {:>7}  {wait}", printable(&group.name), group.runs)));
    }
    let (ended, completed, failures) = seen.ended();
    let period = duration(FAILURES_S);
    lines
        .push((Style::Plain, format!("ended   {ended} runs in the last {period}, {completed} of them with a verdict")));
    for (code, runs) in failures {
        lines.push((Style::Warn, format!("        {code:<24} {runs:>7}")));
    }
    lines.push((Style::Plain, stalls_line(seen)));
    if seen.workers.is_empty() {
        lines.push((Style::Bad, "workers none has reported within the last hour".to_owned()));
    }
    for (number, worker) in seen.workers.iter().enumerate() {
        let (style, state) = state(worker);
        let name = if number == 0 { "workers" } else { "" };
        let heartbeat = duration(worker.seen_ago_s);
        let text = format!(
            "{name:<7} {:<36} {:<12} {:<14} {heartbeat} ago",
            printable(&worker.id),
            slots_used(worker),
            printable(state)
        );
        lines.push((if style == Style::Good { Style::Plain } else { style }, text));
    }
    lines
}

/// Puts the text of a fault into the first line of a picture that could not be renewed.
pub fn show_fault(lines: &mut [Line], fault: &str) {
    if let Some(first) = lines.first_mut() {
        *first = (Style::Bad, format!("not renewed: {}", printable(fault)));
    }
}

/// Returns what draws the lines over the picture before, cut to the size of the terminal.
#[must_use]
pub fn frame(terminal: Terminal, lines: &[Line]) -> String {
    let (columns, rows) = terminal.size().unwrap_or(DEFAULT_SIZE);
    framed(lines, columns.into(), rows.into(), |style, text| terminal.paint(style, text))
}

fn framed(lines: &[Line], columns: usize, rows: usize, paint: impl Fn(Style, String) -> String) -> String {
    let mut text = "\x1b[H".to_owned();
    // A line feed after the last row would move the picture up.
    for (number, (style, line)) in lines.iter().take(rows).enumerate() {
        let feed = if number == 0 { "" } else { "\r\n" };
        write!(text, "{feed}{}\x1b[K", paint(*style, shorten(line, columns))).ok();
    }
    text + "\x1b[J"
}

fn slots_line(seen: &Snapshot) -> String {
    let (used, all, runs) = seen.load();
    let filled = if all > 0 { (used * BAR_CHARS / all).clamp(0, BAR_CHARS) } else { 0 };
    let [filled, empty] = [filled, BAR_CHARS - filled].map(|count| usize::try_from(count).unwrap_or(0));
    let live = seen.workers.iter().filter(|worker| is_live(worker)).count();
    format!(
        "slots   [{}{}] {} of {} in use by {runs} runs on {live} workers",
        "#".repeat(filled),
        ".".repeat(empty),
        slots(used),
        slots(all)
    )
}

fn stalls_line(seen: &Snapshot) -> String {
    let stalls = seen.stalls.all().map(|(resource, stall)| match stall {
        None => format!("{resource} unknown"),
        Some(stall) => match stall.full {
            None => format!("{resource} {:.1} %", stall.some),
            Some(full) => format!("{resource} {:.1} % (all {full:.1} %)", stall.some),
        },
    });
    format!("stalls  of this host in the last 10 s: {}", stalls.join(", "))
}

#[cfg(test)]
mod tests {
    use assize_domain::run::{FailureCode, Status};
    use assize_store::operator_pauses::OperatorPause;
    use assize_store::queue::{EndCount, QueueGroup};
    use assize_store::workers::WorkerRow;
    use chrono::DateTime;

    use super::super::stalls::{Stall, Stalls};
    use super::*;
    use crate::cli::queue::QueueView;

    fn snapshot() -> Snapshot {
        let worker = |id: &str, seen_ago_s: f64| WorkerRow {
            id: id.to_owned(),
            version: "0.1.0".to_owned(),
            half_slots: 8,
            state: "claiming".to_owned(),
            detail: String::new(),
            started_at: DateTime::UNIX_EPOCH,
            seen_ago_s,
            runs: 3,
            used_half_slots: 5,
            drain_reason: None,
        };
        let group = |kind: &str, name: &str, runs| QueueGroup {
            kind: kind.to_owned(),
            name: name.to_owned(),
            runs,
            oldest_wait_s: Some(725.0),
        };
        let end = |status, failure_code, runs| EndCount { status, failure_code, runs };
        Snapshot {
            at: DateTime::UNIX_EPOCH,
            queue: QueueView {
                pause: Some(OperatorPause { reason: "new disks".to_owned(), since: DateTime::UNIX_EPOCH }),
                runs: 152,
                is_cut: false,
                oldest_wait_s: Some(725.0),
                groups: vec![group("reason", "paused", 120), group("template", "trivial", 152)],
            },
            workers: vec![worker("node-1.40-812-99", 2.0), worker("node-2\u{1b}[2J.40-7-7", 90.0)],
            stale_runs: 1,
            ends: vec![
                end(Status::Completed, None, 330),
                end(Status::Failed, Some(FailureCode::CellLost), 2),
                end(Status::Failed, Some(FailureCode::BuildFailed), 8),
            ],
            stalls: Stalls { cpu: Some(Stall { some: 12.34, full: None }), memory: None, io: None },
        }
    }

    #[test]
    fn a_picture_shows_slots_queue_failures_stalls_and_workers() {
        let text: Vec<String> = lines(&snapshot()).into_iter().map(|(_, line)| line).collect();
        let text = text.join("\n");
        let wanted = [
            "slots   [##################............] 2.5 of 4 in use by 3 runs on 1 workers",
            "1 leases were not renewed",
            "queue   152 runs wait, the oldest for 12 min",
            "claims of all workers are paused by operator: new disks, since 1970-01-01",
            "paused                       120  12 min",
            "ended   340 runs in the last 15 min, 330 of them with a verdict",
            "build_failed                   8",
            "cell_lost                      2",
            "cpu 12.3 %, memory unknown",
            "workers node-1.40-812-99",
            "gone           90 s ago",
        ];
        let mut rest = text.as_str();
        for wanted in wanted {
            let at = rest.find(wanted).unwrap_or_else(|| panic!("{wanted:?} is missing or out of order in:\n{text}"));
            rest = &rest[at + wanted.len()..];
        }
        assert!(!text.contains("trivial"), "the picture has no room for templates");
        assert!(!text.contains('\u{1b}'), "a name drives the terminal");
    }

    #[test]
    fn a_frame_fits_into_the_terminal_and_clears_what_was_there() {
        let lines = lines(&snapshot());
        let frame = framed(&lines, 40, 5, |_, text| text);
        let body = frame.strip_prefix("\x1b[H").unwrap().strip_suffix("\x1b[J").unwrap();
        let rows: Vec<&str> = body.split("\r\n").map(|row| row.strip_suffix("\x1b[K").unwrap()).collect();
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|row| row.chars().count() <= 40), "{rows:?}");
        assert!(rows[1].ends_with('…'), "{rows:?}");
    }

    #[test]
    fn a_fault_takes_the_first_line_and_the_picture_stays() {
        let (before, mut after) = (lines(&snapshot()), lines(&snapshot()));
        show_fault(&mut after, "Postgres did not answer");
        assert_eq!(after[0], (Style::Bad, "not renewed: Postgres did not answer".to_owned()));
        assert_eq!(after[1..], before[1..]);
    }
}
