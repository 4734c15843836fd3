//! The attack of assize on itself: every known hostile case, tried on this host by `assize doctor --attack`.
//!
//! The command starts an installation of its own on the host's real engine. This crate attacks that installation as a
//! project or a client would: through HTTP, with archives, code, reports and requests that the crate makes itself. Each
//! [`case::Case`] names what is tried and the control that must stop it. The outcome of a case rests on what was observed
//! inside the cell and on the host. Silence proves nothing: a case without an answer is inconclusive, and the command then
//! does not exit with 0.
//!
//! ```text
//!  doctor --attack ─► private Postgres, Redis, API, worker ─► cells (own instance label) ─┐
//!        │                    ▲ archives, reports, requests                               │ probes and programs
//!        └─ AttackContext ────┘                          host: canaries, listeners ◄──────┘ report what they reached
//! ```
//!
//! | module | attacks with |
//! |---|---|
//! | [`archives`] | the hostile zip files of [`assize_corpus::hostile`] |
//! | [`code`] | programs in the cell: system calls that must be denied, and programs that exhaust a host |
//! | [`grader`] | projects that attack the tests themselves, before and while they run |
//! | [`results`] | malformed reports, and projects that write their own score |
//! | [`http`] | slow, truncated, contradictory and foreign requests |
//! | [`git`] | addresses of repositories that lead to places which a submission must not reach |
//! | [`blame`] | failures that a project causes and that must not look like failures of the infrastructure |
//! | [`limits`] | what a neighbour's cell notices of an attack, and how late a time limit takes effect |

pub mod archives;
pub mod blame;
pub mod case;
pub mod code;
pub mod context;
pub mod git;
pub mod grader;
pub mod host_canary;
pub mod http;
pub mod limits;
pub mod results;
pub mod templates;
pub mod trial;

use case::Case;
use context::AttackContext;

/// Every case, in the order in which the attack runs them.
#[must_use]
pub fn cases() -> Vec<Case> {
    let outside = [archives::cases(), git::cases(), http::cases()];
    let inside = [results::cases(), code::cases(), grader::cases(), blame::cases()];
    [outside.concat(), inside.concat(), limits::cases()].concat()
}

/// Runs every requested case. Each result is sent as soon as the case has an outcome.
///
/// Requests that must be slow run at the same time as everything else except the measurements. The measurements run last
/// and alone.
pub async fn run(context: &AttackContext) {
    let poll = limits::Poll::begin(context);
    let quick = async {
        archives::run(context).await;
        git::run(context).await;
        http::run(context).await;
        results::run(context).await;
        code::run(context).await;
        grader::run(context).await;
        blame::run(context).await;
    };
    tokio::join!(http::run_slow(context), quick);
    limits::run(context).await;
    poll.end(context).await;
    context.check_leftovers().await;
}

/// The table of all cases in Markdown, as docs/ATTACKS.md contains it.
#[must_use]
pub fn table() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let rows = cases().into_iter().enumerate().map(|(number, case)| {
        format!("| {} | `{}` | {} | {} |\n", number + 1, case.id, cell(&case.tried), cell(&case.control))
    });
    format!("| | case | what is tried | what must stop it |\n|---|---|---|---|\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::case::Group;

    #[test]
    fn every_case_has_a_unique_name_and_there_are_enough() {
        let cases = super::cases();
        let names: HashSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(names.len(), cases.len(), "a name is there twice");
        let tried: HashSet<&str> = cases.iter().map(|case| case.tried.as_str()).collect();
        assert_eq!(tried.len(), cases.len(), "two cases try the same");
        let count = |group: Group| cases.iter().filter(|case| case.group == group).count();
        assert!(count(Group::Archives) >= 80, "{}", count(Group::Archives));
        assert!(count(Group::Code) >= 80, "{}", count(Group::Code));
        assert!(count(Group::Results) >= 50, "{}", count(Group::Results));
        assert!(count(Group::Blame) >= 30, "{}", count(Group::Blame));
        assert!(count(Group::Http) >= 30, "{}", count(Group::Http));
        assert!(cases.len() >= 250, "{}", cases.len());
    }
}
