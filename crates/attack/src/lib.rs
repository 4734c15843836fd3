//! Everything hostile that is known, tried on this host: `assize doctor --attack`.
//!
//! The command starts an installation of its own against the host's real engine, and this module attacks it
//! the way a project or a client would: through HTTP, with archives, code, reports and requests that it
//! makes itself. Each [`case::Case`] says what is tried and what must stop it; its judgement is made from
//! what was seen on both sides. Nothing is taken for contained because nothing was heard of it: a case
//! without an answer is not judged, and the command then does not end with 0.
//!
//! ```text
//!  doctor --attack ─► private Postgres, Redis, API, worker ─► cells (own instance label) ─┐
//!        │                    ▲ archives, reports, requests                               │ probes and programs
//!        └─ arena ────────────┘                          host: canaries, listeners ◄──────┘ say what they could do
//! ```
//!
//! | module | attacks with |
//! |---|---|
//! | [`archives`] | zip files that lie, byte by byte ([`crafted`]) |
//! | [`code`] | programs in the cell: calls that must be denied, and what eats a host |
//! | [`grader`] | projects that go for the tests themselves, before and while they run |
//! | [`results`] | reports that are no reports, and projects that write their own score |
//! | [`http`] | slow, cut, contradictory and foreign requests |
//! | [`git`] | addresses of repositories that lead elsewhere |
//! | [`blame`] | faults that are to look like the infrastructure's own |
//! | [`limits`] | what a neighbour notices, and how late a time limit comes |

pub mod archives;
pub mod arena;
pub mod blame;
pub mod case;
pub mod code;
pub mod git;
pub mod grader;
pub mod http;
pub mod limits;
pub mod results;
pub mod templates;
pub mod trial;
pub mod witness;

use arena::Arena;
use case::Case;

/// Every case there is, in the order in which they run.
#[must_use]
pub fn cases() -> Vec<Case> {
    let outside = [archives::cases(), git::cases(), http::cases()];
    let inside = [results::cases(), code::cases(), grader::cases(), blame::cases()];
    [outside.concat(), inside.concat(), limits::cases()].concat()
}

/// Attacks with all that is wanted. What was found goes out as it is found.
///
/// The requests that must be slow run beside everything but the measurements, which run last and alone.
pub async fn run(arena: &Arena) {
    let poll = limits::Poll::begin(arena);
    let quick = async {
        archives::run(arena).await;
        git::run(arena).await;
        http::run(arena).await;
        results::run(arena).await;
        code::run(arena).await;
        grader::run(arena).await;
        blame::run(arena).await;
    };
    tokio::join!(http::run_slow(arena), quick);
    limits::run(arena).await;
    poll.end(arena).await;
    arena.check_leftovers().await;
}

/// The cases as a table in Markdown, as docs/ATTACKS.md has it.
#[must_use]
pub fn table() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let rows = cases().into_iter().enumerate().map(|(number, case)| {
        format!("| {} | `{}` | {} | {} |\n", number + 1, case.id, cell(&case.tried), cell(&case.wall))
    });
    format!("| | case | what is tried | what must stop it |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::case::Group;

    #[test]
    fn every_case_has_a_name_of_its_own_and_there_are_enough() {
        let cases = super::cases();
        let names: HashSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(names.len(), cases.len(), "a name is there twice");
        let tried: HashSet<&str> = cases.iter().map(|case| case.tried.as_str()).collect();
        assert_eq!(tried.len(), cases.len(), "two cases try the same");
        let of = |group: Group| cases.iter().filter(|case| case.group == group).count();
        assert!(of(Group::Archives) >= 80, "{}", of(Group::Archives));
        assert!(of(Group::Code) >= 80, "{}", of(Group::Code));
        assert!(of(Group::Results) >= 50, "{}", of(Group::Results));
        assert!(of(Group::Blame) >= 30, "{}", of(Group::Blame));
        assert!(of(Group::Http) >= 30, "{}", of(Group::Http));
        assert!(cases.len() >= 250, "{}", cases.len());
    }
}
