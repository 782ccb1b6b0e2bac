//! Fits Platt scaling.

use crate::manifest::{Calibration, sigmoid};

/// The scaling that makes log-odds fit what is true, by maximum likelihood: Newton's method on the two parameters,
/// with Platt's smoothed targets, which keep it finite where the classes are separable.
/// `None` if a class is missing, or if a higher score does not mean a higher share of positives.
pub fn fit_platt(log_odds: &[f64], positive: &[bool]) -> Option<Calibration> {
    let positives = positive.iter().filter(|p| **p).count();
    let negatives = positive.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let [low, high] = smoothed(positives as f64, negatives as f64);
    let row = |(x, positive): (&f64, &bool)| (*x, if *positive { high } else { low }, 1.0);
    fit_targets(&log_odds.iter().zip(positive).map(row).collect::<Vec<_>>())
}

/// Platt's targets for a negative and a positive: the posterior means of a uniform prior, which keep a fit from certainty.
pub(crate) fn smoothed(positives: f64, negatives: f64) -> [f64; 2] {
    [1.0 / (negatives + 2.0), (positives + 1.0) / (positives + 2.0)]
}

/// The scaling of greatest likelihood for log-odds, targets and weights.
pub(crate) fn fit_targets(rows: &[(f64, f64, f64)]) -> Option<Calibration> {
    let loss = |c: &Calibration| -> f64 {
        let row = |(x, target, weight): &(f64, f64, f64)| {
            weight * (softplus(c.slope * x + c.offset) - target * (c.slope * x + c.offset))
        };
        rows.iter().map(row).sum()
    };
    let mut fit = Calibration { slope: 1.0, offset: 0.0 };
    let mut best = loss(&fit);
    for _ in 0..100 {
        let mut gradient = [0.0, 0.0];
        let mut curvature = [1e-9, 0.0, 1e-9];
        for (x, target, weight) in rows {
            let probability = sigmoid(fit.slope * x + fit.offset);
            let (error, spread) = (weight * (probability - target), weight * probability * (1.0 - probability));
            gradient = [gradient[0] + error * x, gradient[1] + error];
            curvature = [curvature[0] + spread * x * x, curvature[1] + spread * x, curvature[2] + spread];
        }
        let determinant = curvature[0] * curvature[2] - curvature[1] * curvature[1];
        let slope = (curvature[2] * gradient[0] - curvature[1] * gradient[1]) / determinant;
        let offset = (curvature[0] * gradient[1] - curvature[1] * gradient[0]) / determinant;
        let mut length = 1.0;
        let next = loop {
            let tried = Calibration { slope: fit.slope - length * slope, offset: fit.offset - length * offset };
            if loss(&tried) <= best {
                break tried;
            }
            length /= 2.0;
            if length < 1e-6 {
                break fit;
            }
        };
        let moved = (next.slope - fit.slope).abs() + (next.offset - fit.offset).abs();
        fit = next;
        best = loss(&fit);
        if moved < 1e-10 {
            break;
        }
    }
    (fit.slope > 0.0 && fit.slope.is_finite() && fit.offset.is_finite()).then_some(fit)
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
