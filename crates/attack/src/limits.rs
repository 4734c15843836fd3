//! Measurements of what others notice of an attack: a neighbour's cell, the API, and how late a time limit takes
//! effect.
//!
//! The measurements run last and alone. Speed varies from run to run, so the neighbour is measured alternately quiet
//! and attacked within one run, and the two are compared.

mod late;
mod loud;
mod neighbour;
mod ready;

pub use neighbour::{NEIGHBOUR_PORT, NEIGHBOUR_SOCKET, Neighbour};
pub use ready::Poll;

use super::case::{Case, Group};
use super::context::AttackContext;

/// Every case of this group.
#[must_use]
pub fn cases() -> Vec<Case> {
    [neighbour::cases(), ready::cases(), late::cases(), loud::cases()].concat()
}

/// Measures every requested case.
pub async fn run(context: &AttackContext) {
    late::run(context).await;
    neighbour::run(context).await;
    loud::run(context).await;
}

fn case(name: &str, tried: &str, control: &str) -> Case {
    Case::new(Group::Limits, name, tried, control)
}

fn id(name: &str) -> String {
    format!("{}/{name}", Group::Limits.as_str())
}

/// The given percentile of `samples` by nearest rank; `None` if there are no samples.
fn percentile(samples: &mut [f64], percent: usize) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    let rank = (samples.len() * percent).div_ceil(100).max(1);
    samples.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let mut samples: Vec<f64> = (1..=52).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut samples, 50), Some(26.0));
        assert_eq!(percentile(&mut samples, 95), Some(50.0));
        assert_eq!(percentile(&mut samples, 99), Some(52.0));
        assert_eq!(percentile(&mut [], 95), None);
    }
}
