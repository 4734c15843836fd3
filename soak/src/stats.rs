//! Estimates with their intervals: quantiles, shares and slopes. Everything here is pure.
//!
//! A bound of a share holds with 95 % on its side (Clopper and Pearson). The interval of a quantile or a slope holds with
//! 95 % on both sides together; neither assumes a distribution.

use serde::{Deserialize, Serialize};

/// The quantile of the normal distribution for an interval of 95 %.
const Z_95: f64 = 1.959_964;

/// The probability with which a bound of a share may be wrong.
const ALPHA: f64 = 0.05;

/// The smallest number of points for a slope: below it, its interval says nothing.
pub const MIN_POINTS: usize = 8;

/// An estimate with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub value: f64,
    pub lower: f64,
    pub upper: f64,
}

/// Returns a count as a real number. Counts here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
pub const fn real(count: u64) -> f64 {
    count as f64
}

/// Returns a length as a real number.
pub const fn length(count: usize) -> f64 {
    real(count as u64)
}

/// Returns the index that a real number names, at most `last`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and `last` bounds it")]
fn index(at: f64, last: usize) -> usize {
    (at.max(0.0) as usize).min(last)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Returns the smallest value that at least `share` of all values do not exceed; `None` if there are no values.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    sorted(values).get(index((length(values.len()) * share).ceil() - 1.0, last)).copied()
}

/// Returns a quantile with its interval, from the order of the values. Values of one sample that depend on one another
/// make the true interval wider.
pub fn quantile_interval(values: &[f64], share: f64) -> Option<Interval> {
    let last = values.len().checked_sub(1)?;
    let sorted = sorted(values);
    let (count, spread) = (length(values.len()), Z_95 * (length(values.len()) * share * (1.0 - share)).sqrt());
    let at = |rank: f64| sorted.get(index(rank, last)).copied();
    Some(Interval {
        value: at((count * share).ceil() - 1.0)?,
        lower: at((count * share - spread).floor() - 1.0)?,
        upper: at((count * share + spread).ceil())?,
    })
}

/// Returns the share `bad` of `all` with the bounds of Clopper and Pearson. Of nothing, every share is possible.
pub fn share(bad: u64, all: u64) -> Interval {
    if all == 0 {
        return Interval { value: 0.0, lower: 0.0, upper: 1.0 };
    }
    let bad = bad.min(all);
    Interval { value: real(bad) / real(all), lower: 1.0 - upper_bound(all - bad, all), upper: upper_bound(bad, all) }
}

/// Returns the share at which `bad` of `all`, or fewer, have the probability [`ALPHA`].
fn upper_bound(bad: u64, all: u64) -> f64 {
    if bad >= all {
        return 1.0;
    }
    let (mut low, mut high) = (real(bad) / real(all), 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if ln_at_most(bad, all, middle) > ALPHA.ln() {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Returns the logarithm of the probability of at most `bad` among `all`, each with the probability `p`. Sums of
/// logarithms neither overflow nor vanish.
fn ln_at_most(bad: u64, all: u64, p: f64) -> f64 {
    let odds = p.ln() - (-p).ln_1p();
    let mut term = real(all) * (-p).ln_1p();
    let mut sum = term;
    for count in 0..bad {
        term += real(all - count).ln() - real(count + 1).ln() + odds;
        let (high, low) = if sum > term { (sum, term) } else { (term, sum) };
        sum = high + (low - high).exp().ln_1p();
    }
    sum
}

/// Returns the slope of Theil and Sen with its interval after Sen; `None` for fewer than [`MIN_POINTS`] points, or if all
/// lie at one `x`. One wild value in five does not move it.
pub fn slope(points: &[(f64, f64)]) -> Option<Interval> {
    if points.len() < MIN_POINTS {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (at, (x, y)) in points.iter().enumerate() {
        let later = points.iter().skip(at + 1).filter(|(other, _)| (other - x).abs() > f64::EPSILON);
        slopes.extend(later.map(|(other, value)| (value - y) / (other - x)));
    }
    let last = slopes.len().checked_sub(1)?;
    let slopes = sorted(&slopes);
    let (count, all) = (length(points.len()), length(slopes.len()));
    let spread = Z_95 * (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
    let at = |rank: f64| slopes.get(index(rank, last)).copied();
    let value = f64::midpoint(at(((all - 1.0) / 2.0).floor())?, at(((all - 1.0) / 2.0).ceil())?);
    Some(Interval { value, lower: at(((all - spread) / 2.0).floor())?, upper: at(((all + spread) / 2.0).ceil())? })
}

/// Returns the lowest point of each of at most `count` equal blocks: the floor of a value that rises and is cleared again.
pub fn floors(points: &[(f64, f64)], count: usize) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(count.max(1)).max(1);
    points.chunks(size).filter_map(|block| block.iter().copied().min_by(|one, two| one.1.total_cmp(&two.1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(seen: f64, wanted: f64) -> bool {
        (seen - wanted).abs() <= wanted.abs() * 1e-4 + 1e-9
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0], 0.99), Some(1.0));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.95), Some(95.0));
        assert_eq!(quantile(&hundred, 1.0), Some(100.0));
    }

    #[test]
    fn the_interval_of_a_quantile_narrows_with_the_values() {
        let values = |count: u32| (1..=count).map(|value| f64::from(value) / f64::from(count)).collect::<Vec<_>>();
        let few = quantile_interval(&values(100), 0.95).unwrap();
        let many = quantile_interval(&values(10_000), 0.95).unwrap();
        assert!(near(few.value, 0.95) && near(few.lower, 0.90) && near(few.upper, 1.0), "{few:?}");
        assert!(near(many.value, 0.95) && near(many.lower, 0.9457) && near(many.upper, 0.9544), "{many:?}");
    }

    /// The values are those of R: `binom.test(k, n, alternative = "less")$conf.int[2]` and `"greater"`.
    #[test]
    fn the_bounds_of_a_share_are_those_of_clopper_and_pearson() {
        assert!(near(share(0, 150).upper, 1.0 - 0.05_f64.powf(1.0 / 150.0)));
        assert!(near(share(5, 5).lower, 0.05_f64.powf(0.2)));
        let ten = share(1, 10);
        assert!(near(ten.upper, 0.394_163) && near(ten.lower, 0.005_116), "{ten:?}");
        assert!(near(ten.value, 0.1));
        let none = share(0, 0);
        assert_eq!((none.lower, none.upper), (0.0, 1.0));
        // A direct product of 60,000 factors would be 0.
        let day = share(1200, 57_600);
        assert!(day.lower < 0.0209 && day.upper > 0.0208 && day.upper < 0.0219, "{day:?}");
    }

    #[test]
    fn a_bound_is_where_the_outcome_has_five_percent() {
        for (bad, all) in [(1, 20), (7, 90), (40, 2000)] {
            let bounds = share(bad, all);
            assert!((ln_at_most(bad, all, bounds.upper).exp() - 0.05).abs() < 1e-6);
            assert!((ln_at_most(bad - 1, all, bounds.lower).exp() - 0.95).abs() < 1e-6);
        }
    }

    #[test]
    fn a_slope_is_found_in_noise_and_beside_wild_values() {
        let noise = |at: u32| f64::from(at * 7919 % 101) / 101.0 - 0.5;
        let mut points: Vec<(f64, f64)> = (0..60).map(|at| (f64::from(at), 2.0 * f64::from(at) + noise(at))).collect();
        let clean = slope(&points).unwrap();
        assert!(clean.lower < 2.0 && 2.0 < clean.upper && clean.upper - clean.lower < 0.02, "{clean:?}");
        for at in [3, 17, 29, 41, 55] {
            points[at].1 = 1e6;
        }
        let wild = slope(&points).unwrap();
        assert!((wild.value - 2.0).abs() < 0.05, "{wild:?}");
        let level: Vec<(f64, f64)> = (0..60).map(|at| (f64::from(at), noise(at))).collect();
        let level = slope(&level).unwrap();
        assert!(level.lower < 0.0 && level.upper > 0.0, "{level:?}");
    }

    #[test]
    fn too_few_points_have_no_slope() {
        let points: Vec<(f64, f64)> = (0..7).map(|at| (f64::from(at), 0.0)).collect();
        assert_eq!(slope(&points), None);
        assert_eq!(slope(&[(1.0, 2.0); 20]), None);
    }

    #[test]
    fn the_floors_of_a_sawtooth_are_level() {
        let saw: Vec<(f64, f64)> = (0..120).map(|at| (f64::from(at), f64::from(at % 10))).collect();
        let low = floors(&saw, 12);
        assert_eq!(low.len(), 12);
        assert!(low.iter().all(|(_, value)| *value == 0.0));
        assert!(floors(&[], 12).is_empty());
    }
}
