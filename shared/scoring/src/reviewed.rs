//! What people said about scored posts: measures in which a post counts as much as its weight, and how sure they are.
//!
//! Posts are rarely reviewed at random. A weight of one over the chance that a post was picked for review makes sums over
//! reviewed posts stand for all posts (D. Horvitz, D. Thompson, A generalization of sampling without replacement from a
//! finite universe, 1952).

use serde::{Deserialize, Serialize};

use crate::metrics::calibration_error;

/// A scored post that a person decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reviewed {
    /// Its score, 0 to 1.
    pub score: f64,
    /// Whether the person found the harm in it.
    pub positive: bool,
    /// How many posts it stands for, up to a factor common to all; above 0.
    pub weight: f64,
}

/// A number with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The 97.5th percentile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// How many posts of equal weight say as much as these: `(sum w)^2 / sum w^2`.
/// Source: L. Kish, Survey Sampling, 1965.
pub fn effective<'a>(rows: impl IntoIterator<Item = &'a Reviewed>) -> f64 {
    let (sum, squares) = rows.into_iter().fold((0.0, 0.0), |(s, q), row| (s + row.weight, q + row.weight * row.weight));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// The share of `among` for which `is` holds, with [`wilson`]'s interval. `None` where there is nothing to share.
pub fn share<'a>(
    among: impl IntoIterator<Item = &'a Reviewed> + Clone,
    is: impl Fn(&Reviewed) -> bool,
) -> Option<Estimate> {
    let n = effective(among.clone());
    let (hits, all) = among
        .into_iter()
        .fold((0.0, 0.0), |(hits, all), row| (hits + if is(row) { row.weight } else { 0.0 }, all + row.weight));
    (all > 0.0).then(|| wilson(hits / all, n))
}

/// A share found among `n` with Wilson's score interval of 95 %, which stays within 0 and 1 and holds for small counts.
/// Source: E. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
pub fn wilson(share: f64, n: f64) -> Estimate {
    let around = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / around;
    let half = Z / around * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Estimate { value: share, low: (middle - half).clamp(0.0, share), high: (middle + half).clamp(share, 1.0) }
}

/// The expected calibration error over 15 bins of equal width. `None` without rows.
pub fn ece(rows: &[Reviewed]) -> Option<f64> {
    calibration_error(rows.iter().map(|row| (row.score, row.positive, row.weight)))
}

/// The Brier score, the mean squared distance of score and answer. `None` without rows.
/// Source: G. Brier, Verification of forecasts expressed in terms of probability, 1950.
pub fn brier(rows: &[Reviewed]) -> Option<f64> {
    let all: f64 = rows.iter().map(|row| row.weight).sum();
    let distance = |row: &Reviewed| row.score - if row.positive { 1.0 } else { 0.0 };
    (all > 0.0).then(|| rows.iter().map(|row| row.weight * distance(row).powi(2)).sum::<f64>() / all)
}

/// How often the bootstrap draws.
const DRAWS: usize = 1000;

/// A measure with its bootstrap interval: the percentiles 2.5 and 97.5 over 1,000 draws of as many rows, the same each time.
/// A measure that chance alone raises, as it does the calibration error, is higher in the draws than on the rows.
/// Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
pub fn bootstrap(rows: &[Reviewed], measure: impl Fn(&[Reviewed]) -> Option<f64>) -> Option<Estimate> {
    let value = measure(rows)?;
    let mut random = SplitMix(0);
    let mut drawn = Vec::with_capacity(rows.len());
    let mut found = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        drawn.clear();
        drawn.extend((0..rows.len()).filter_map(|_| rows.get(random.below(rows.len()))).copied());
        found.extend(measure(&drawn));
    }
    found.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| found.get((share * found.len() as f64) as usize).copied();
    Some(Estimate { value, low: at(0.025)?, high: at(0.975)? })
}

/// SplitMix64. Source: G. Steele, D. Lea, C. Flood, Fast splittable pseudorandom number generators, 2014.
struct SplitMix(u64);

impl SplitMix {
    /// A number below `n`, all but equally likely.
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;
    use crate::metrics::{Outcome, measure};

    fn rows(n: usize, hits: usize) -> Vec<Reviewed> {
        (0..n).map(|i| Reviewed { score: i as f64 / n as f64, positive: i >= n - hits, weight: 1.0 }).collect()
    }

    #[test]
    fn intervals_of_shares_are_wilsons() {
        // Expected: SciPy, `binomtest(hits, n).proportion_ci(0.95, method="wilson")`.
        for (n, hits, low, high) in WILSON {
            let found = share(&rows(n, hits), |row| row.positive).unwrap();
            assert!((found.value - hits as f64 / n as f64).abs() < 1e-12);
            assert!((found.low - low).abs() < 1e-9 && (found.high - high).abs() < 1e-9, "{hits}/{n}: {found:?}");
        }
        assert_eq!(share(&[], |row| row.positive), None);
    }

    const WILSON: [(usize, usize, f64, f64); 5] = [
        (10, 9, 0.595_849_973_204_761_5, 0.982_123_786_904_927_1),
        (100, 88, 0.801_879_005_732_885_7, 0.930_005_935_629_805_2),
        (1000, 5, 0.002_137_535_527_324_460_4, 0.011_650_955_373_375_113),
        (7, 0, 0.0, 0.354_330_435_066_687_4),
        (50, 50, 0.928_652_400_866_641_2, 1.0),
    ];

    #[test]
    fn a_row_of_weight_two_counts_as_two_rows() {
        let mut weighted = rows(20, 5);
        let twice: Vec<Reviewed> = weighted.iter().flat_map(|row| [*row, *row]).collect();
        for row in &mut weighted {
            row.weight = 2.0;
        }
        assert_eq!(ece(&weighted), ece(&twice));
        assert!((brier(&weighted).unwrap() - brier(&twice).unwrap()).abs() < 1e-12);
        // A factor common to all says nothing: there are still twenty rows.
        assert!((effective(&weighted) - 20.0).abs() < 1e-12);
        weighted[0].weight = 20.0;
        assert!(effective(&weighted) < 8.0);
    }

    #[test]
    fn without_weights_the_error_is_that_of_the_metrics() {
        let rows = rows(200, 70);
        let outcomes: Vec<_> = rows.iter().map(|r| Outcome { score: r.score, positive: r.positive }).collect();
        assert_eq!(ece(&rows), measure(&outcomes, 0.5).ece);
    }

    #[test]
    fn the_bootstrap_of_a_mean_has_the_width_of_its_standard_error() {
        let rows = rows(400, 100);
        let mean = |rows: &[Reviewed]| share(rows, |row| row.positive).map(|share| share.value);
        let found = bootstrap(&rows, mean).unwrap();
        let error = (0.25_f64 * 0.75 / 400.0).sqrt();
        assert!((found.low - (0.25 - Z * error)).abs() < 0.01 && (found.high - (0.25 + Z * error)).abs() < 0.01);
        assert_eq!(bootstrap(&rows, mean), Some(found));
        assert_eq!(bootstrap(&[], mean), None);
    }
}
