//! Fits Platt scaling and stacking.

use crate::manifest::{Calibration, Stacking, sigmoid};

/// The scaling that makes log-odds fit what is true, by maximum likelihood with Platt's smoothed targets, which keep it finite where the
/// classes are separable. `None` if a class is missing, or if a higher score does not mean a higher share of positives.
pub fn fit_platt(log_odds: &[f64], positive: &[bool]) -> Option<Calibration> {
    let rows: Vec<_> = log_odds.iter().map(|x| [*x, 1.0]).collect();
    platt(fit_smoothed(&rows, positive)?)
}

/// Fits both stages' log-odds together, as [`fit_platt`] does one. Where one would count against the other, the transformer stands alone.
pub fn fit_stacking(transformer: &[f64], linear: &[f64], positive: &[bool]) -> Option<Stacking> {
    let rows: Vec<_> = transformer.iter().zip(linear).map(|(t, l)| [*t, *l, 1.0]).collect();
    let [transformer_slope, linear_slope, offset] = fit_smoothed(&rows, positive)?;
    if linear_slope < 0.0 || transformer_slope <= 0.0 {
        let Calibration { slope, offset } = fit_platt(transformer, positive)?;
        return Some(Stacking { transformer: slope, linear: 0.0, offset });
    }
    let finite = [transformer_slope, linear_slope, offset].iter().all(|number| number.is_finite());
    finite.then_some(Stacking { transformer: transformer_slope, linear: linear_slope, offset })
}

/// Platt's targets for a negative and a positive: the posterior means of a uniform prior, which keep a fit from certainty.
pub(crate) fn smoothed(positives: f64, negatives: f64) -> [f64; 2] {
    [1.0 / (negatives + 2.0), (positives + 1.0) / (positives + 2.0)]
}

/// The scaling of greatest likelihood for log-odds, targets and weights.
pub(crate) fn fit_targets(rows: &[(f64, f64, f64)]) -> Option<Calibration> {
    platt(fit(&rows.iter().map(|(x, target, weight)| ([*x, 1.0], *target, *weight)).collect::<Vec<_>>()))
}

fn platt([slope, offset]: [f64; 2]) -> Option<Calibration> {
    (slope > 0.0 && slope.is_finite() && offset.is_finite()).then_some(Calibration { slope, offset })
}

/// [`fit`] on smoothed targets. `None` if a class is missing.
fn fit_smoothed<const N: usize>(inputs: &[[f64; N]], positive: &[bool]) -> Option<[f64; N]> {
    let positives = positive.iter().filter(|p| **p).count();
    let negatives = positive.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let [low, high] = smoothed(positives as f64, negatives as f64);
    let row = |(x, positive): (&[f64; N], &bool)| (*x, if *positive { high } else { low }, 1.0);
    Some(fit(&inputs.iter().zip(positive).map(row).collect::<Vec<_>>()))
}

/// Logistic regression of targets on a few inputs, each row with its weight, by Newton's method.
fn fit<const N: usize>(rows: &[([f64; N], f64, f64)]) -> [f64; N] {
    let dot = |a: &[f64; N], b: &[f64; N]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let loss = |weights: &[f64; N]| -> f64 {
        let row = |(x, target, weight): &([f64; N], f64, f64)| {
            let log_odds = dot(weights, x);
            weight * (softplus(log_odds) - target * log_odds)
        };
        rows.iter().map(row).sum()
    };
    let mut weights = [0.0; N];
    // Log-odds as they come are the first guess.
    weights.iter_mut().take(1).for_each(|first| *first = 1.0);
    let mut best = loss(&weights);
    for _ in 0..100 {
        let mut gradient = [0.0; N];
        let mut curvature = [[0.0; N]; N];
        for (x, target, weight) in rows {
            let probability = sigmoid(dot(&weights, x));
            let (error, spread) = (weight * (probability - target), weight * probability * (1.0 - probability));
            for ((gradient, curvature), xi) in gradient.iter_mut().zip(&mut curvature).zip(x) {
                *gradient += error * xi;
                curvature.iter_mut().zip(x).for_each(|(cell, xj)| *cell += spread * xi * xj);
            }
        }
        for (i, row) in curvature.iter_mut().enumerate() {
            row.iter_mut().skip(i).take(1).for_each(|cell| *cell += 1e-9);
        }
        let step = solve(curvature, gradient);
        let mut length = 1.0;
        let next = loop {
            let mut tried = weights;
            tried.iter_mut().zip(&step).for_each(|(weight, step)| *weight -= length * step);
            if loss(&tried) <= best {
                break tried;
            }
            length /= 2.0;
            if length < 1e-6 {
                break weights;
            }
        };
        let moved: f64 = next.iter().zip(&weights).map(|(next, before)| (next - before).abs()).sum();
        weights = next;
        best = loss(&weights);
        if moved < 1e-10 {
            break;
        }
    }
    weights
}

/// The solution of `matrix * x = right` for a positive definite matrix: Gauss and Jordan without pivoting.
fn solve<const N: usize>(mut matrix: [[f64; N]; N], mut right: [f64; N]) -> [f64; N] {
    for pivot in 0..N {
        let (Some(pivot_row), Some(pivot_right)) = (matrix.get(pivot).copied(), right.get(pivot).copied()) else {
            break;
        };
        let Some(divisor) = pivot_row.get(pivot).copied() else { break };
        for (i, (row, value)) in matrix.iter_mut().zip(&mut right).enumerate() {
            let factor = row.get(pivot).copied().unwrap_or_default() / divisor;
            if i == pivot {
                continue;
            }
            row.iter_mut().zip(&pivot_row).for_each(|(cell, above)| *cell -= factor * above);
            *value -= factor * pivot_right;
        }
    }
    let mut out = right;
    for (i, (value, row)) in out.iter_mut().zip(&matrix).enumerate() {
        *value /= row.get(i).copied().unwrap_or(1.0);
    }
    out
}

/// `ln(1 + exp(x))` without overflow.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;

    const LOG_ODDS: [f64; 10] = [-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 2.5];
    const ANSWERS: [u8; 10] = [0, 0, 1, 0, 0, 1, 0, 1, 1, 1];

    fn positive() -> Vec<bool> {
        ANSWERS.iter().map(|answer| *answer == 1).collect()
    }

    #[test]
    fn the_fit_is_that_of_a_logistic_regression_on_smoothed_targets() {
        // Expected: scikit-learn's LogisticRegression without penalty, each row twice, weighted by its target.
        let fit = fit_platt(&LOG_ODDS, &positive()).unwrap();
        assert!((fit.slope - 0.598_424_8).abs() < 1e-5, "{fit:?}");
        assert!((fit.offset - 0.123_427_18).abs() < 1e-5, "{fit:?}");
    }

    #[test]
    fn stacking_is_a_logistic_regression_on_two_inputs() {
        // Expected: scikit-learn, as above.
        let linear = [-1.0, -2.5, 0.5, -0.2, -1.5, 1.0, 0.1, -0.3, 1.5, 0.7];
        let fit = fit_stacking(&LOG_ODDS, &linear, &positive()).unwrap();
        assert!((fit.transformer - 0.220_806_9).abs() < 1e-5, "{fit:?}");
        assert!((fit.linear - 1.021_901_29).abs() < 1e-5, "{fit:?}");
        assert!((fit.offset - 0.152_052_19).abs() < 1e-5, "{fit:?}");
    }

    #[test]
    fn a_stage_that_counts_against_is_left_out() {
        let against: Vec<f64> = positive().iter().map(|p| if *p { -1.0 } else { 1.0 }).collect();
        let fit = fit_stacking(&LOG_ODDS, &against, &positive()).unwrap();
        let alone = fit_platt(&LOG_ODDS, &positive()).unwrap();
        assert_eq!((fit.transformer, fit.linear, fit.offset), (alone.slope, 0.0, alone.offset));
    }

    #[test]
    fn separable_classes_get_a_finite_fit() {
        let fit = fit_platt(&[-9.0, -8.0, 8.0, 9.0], &[false, false, true, true]).unwrap();
        assert!(fit.slope.is_finite() && fit.probability(9.0) < 0.9 && fit.probability(-9.0) > 0.1);
    }

    #[test]
    fn what_cannot_be_calibrated_is_refused() {
        assert_eq!(fit_platt(&[], &[]), None);
        assert_eq!(fit_platt(&[1.0, 2.0], &[true, true]), None);
        let upside_down: Vec<f64> = LOG_ODDS.iter().map(|x| -x).collect();
        assert_eq!(fit_platt(&upside_down, &positive()), None);
    }
}
