//! The calibration of one deployment: from the model's probability to that of the deployment's own posts.
//!
//! A model is calibrated on the posts it was made with. Where harm is rarer or commoner, its probabilities are off. A deployment
//! therefore keeps a mapping of its own in `calibration.json` beside the manifest, fitted on posts that its people reviewed. The file
//! names the manifest by digest as the manifest names the graph, so that its own digest identifies everything that made a score.

use domain::ModelRef;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::calibration::{fit_targets, smoothed};
use crate::manifest::{Calibration, sigmoid};
use crate::reviewed::{Estimate, Reviewed};

/// The only layout of the file there is.
const SCHEMA: &str = "calibration/1";
/// Scores have six decimals: what is closer to 0 or 1 than half of the last one counts as being there.
const NEAREST: f64 = 5e-7;

/// The file `calibration.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeploymentCalibration {
    /// Layout of this file, `calibration/1`.
    pub schema: String,
    /// Names this calibration. The model's version on records is followed by `+` and this.
    pub version: String,
    /// The model it belongs to; the digest is that of the manifest.
    pub model: ModelRef,
    /// From the model's probability to the deployment's.
    pub mapping: Mapping,
    /// What it was fitted on.
    pub data: Data,
    /// What it changes.
    pub figures: Figures,
}

/// How a score of the model becomes a probability. A higher score never becomes a lower one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase", deny_unknown_fields)]
pub enum Mapping {
    /// Platt scaling of the score's log-odds.
    Platt {
        /// Above 0.
        slope: f64,
        /// Log-odds added.
        offset: f64,
    },
    /// Isotonic regression.
    Isotonic {
        /// Pairs of a score and its probability: scores rise, probabilities never fall. Between two of them a line is drawn; outside, the
        /// nearest holds.
        points: Vec<(f64, f64)>,
    },
}

/// The ways to fit a [`Mapping`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Two numbers: the one for few posts.
    Platt,
    /// As many steps as the data asks for: for a thousand posts and more.
    /// Source: A. Niculescu-Mizil, R. Caruana, Predicting good probabilities with supervised learning, 2005.
    Isotonic,
}

/// What a calibration was fitted on; no content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Digest of it.
    pub sha256: String,
    /// Reviewed posts.
    pub n: usize,
    /// Positive ones among them.
    pub positives: usize,
    /// As many positive posts of equal weight would say as much; the positives where there were no weights.
    pub effective_positives: f64,
}

/// How good the probabilities are on the data of the calibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Parts of the cross-validation: after means that each part was mapped by a fit on all others.
    pub folds: usize,
    /// Expected calibration error over 15 bins of the model's probabilities, with its bootstrap interval.
    pub ece_before: Estimate,
    /// The same of the deployment's probabilities, cross-validated.
    pub ece_after: Estimate,
    /// Brier score before.
    pub brier_before: f64,
    /// Brier score after, cross-validated.
    pub brier_after: f64,
}

/// Why a calibration was refused. Trying the same bytes again does not help.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// Not JSON, or not the shape of a calibration.
    #[error("parsing `calibration.json`")]
    Json(#[from] serde_json::Error),
    /// It was made for another model.
    #[error(
        "it belongs to the model with the digest `{belongs_to}`, this one has `{model}`: calibrate this one with `moderato calibrate`"
    )]
    OtherModel {
        /// Digest of the manifest it was made for.
        belongs_to: String,
        /// Digest of the manifest it was found with.
        model: String,
    },
    /// It can be read, and asks for what this program does not do.
    #[error("`{field}` must be {supported}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What it may be.
        supported: &'static str,
    },
}

impl DeploymentCalibration {
    /// Puts a calibration of `model` together.
    pub fn new(version: String, model: ModelRef, mapping: Mapping, data: Data, figures: Figures) -> Self {
        Self { schema: SCHEMA.to_owned(), version, model, mapping, data, figures }
    }

    /// Reads the file and checks that it can be used, and with `model`.
    pub fn read(bytes: &[u8], model: &ModelRef) -> Result<Self, CalibrationError> {
        let read: Self = serde_json::from_slice(bytes)?;
        read.check()?;
        if read.model.sha256.eq_ignore_ascii_case(&model.sha256) {
            return Ok(read);
        }
        Err(CalibrationError::OtherModel { belongs_to: read.model.sha256, model: model.sha256.clone() })
    }

    fn check(&self) -> Result<(), CalibrationError> {
        let refuse = |field, supported| Err(CalibrationError::Unsupported { field, supported });
        if self.schema != SCHEMA {
            return refuse("schema", "`calibration/1`");
        }
        // It stands on records, in keys and in messages.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !((1..=32).contains(&self.version.len()) && self.version.bytes().all(plain)) {
            return refuse("version", "1 to 32 letters, digits, `-`, `_` or `.`");
        }
        match &self.mapping {
            Mapping::Platt { slope, offset } if !(slope.is_finite() && *slope > 0.0 && offset.is_finite()) => {
                refuse("mapping", "a finite slope above 0 and a finite offset")
            }
            Mapping::Isotonic { points } if !rising(points) => refuse(
                "mapping.points",
                "pairs from 0 to 1, of rising scores and probabilities that rise and never fall",
            ),
            _ => Ok(()),
        }
    }
}

fn rising(points: &[(f64, f64)]) -> bool {
    let inside = |x: f64| (0.0..=1.0).contains(&x);
    let steps = points.iter().zip(points.iter().skip(1));
    points.iter().all(|(x, y)| inside(*x) && inside(*y))
        && steps.clone().all(|((x, y), (next, after))| next > x && after >= y)
        && steps.into_iter().any(|((_, y), (_, after))| after > y)
}

impl Mapping {
    /// The deployment's probability for the model's, both 0 to 1.
    pub fn apply(&self, score: f64) -> f64 {
        match self {
            Self::Platt { slope, offset } => sigmoid(slope * log_odds(score) + offset),
            Self::Isotonic { points } => interpolated(points, score),
        }
    }

    /// `platt` or `isotonic`.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Platt { .. } => "platt",
            Self::Isotonic { .. } => "isotonic",
        }
    }

    /// Fits a mapping to reviewed posts, towards Platt's smoothed targets, which keep it from certainty.
    /// `None` if a class is missing, or if a higher score does not mean a higher share of positives.
    pub fn fit(method: Method, rows: &[Reviewed]) -> Option<Self> {
        let sum = |positive: bool| rows.iter().filter(|r| r.positive == positive).map(|r| r.weight).sum::<f64>();
        let all = sum(true) + sum(false);
        if !(sum(true) > 0.0 && sum(false) > 0.0) {
            return None;
        }
        // Weights of mean 1, so that smoothing adds as little as it does without them.
        let scale = rows.len() as f64 / all;
        let [low, high] = smoothed(sum(true) * scale, sum(false) * scale);
        let target = |row: &Reviewed| if row.positive { high } else { low };
        match method {
            Method::Platt => {
                let row = |row: &Reviewed| (log_odds(row.score), target(row), row.weight * scale);
                let Calibration { slope, offset } = fit_targets(&rows.iter().map(row).collect::<Vec<_>>())?;
                Some(Self::Platt { slope, offset })
            }
            Method::Isotonic => {
                let row = |row: &Reviewed| (row.score, target(row), row.weight * scale);
                let points = isotonic(&rows.iter().map(row).collect::<Vec<_>>());
                rising(&points).then_some(Self::Isotonic { points })
            }
        }
    }

    /// The rows with the scores that a fit on the other folds gives them. `None` where one of those fits is `None`.
    pub fn cross_validated(method: Method, rows: &[Reviewed], folds: &[usize]) -> Option<Vec<Reviewed>> {
        let mut mapped = rows.to_vec();
        let mut numbers = folds.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        for fold in numbers {
            let others = rows.iter().zip(folds).filter(|(_, other)| **other != fold).map(|(row, _)| *row);
            let mapping = Self::fit(method, &others.collect::<Vec<_>>())?;
            for (row, _) in mapped.iter_mut().zip(folds).filter(|(_, own)| **own == fold) {
                row.score = mapping.apply(row.score);
            }
        }
        Some(mapped)
    }
}

fn log_odds(score: f64) -> f64 {
    let score = score.clamp(NEAREST, 1.0 - NEAREST);
    (score / (1.0 - score)).ln()
}

/// Linear between two points, the nearest one's value outside.
fn interpolated(points: &[(f64, f64)], x: f64) -> f64 {
    let above = points.partition_point(|(from, _)| *from <= x);
    let before = above.checked_sub(1).and_then(|i| points.get(i));
    match (before, points.get(above)) {
        // No further than the next point, whatever rounding says: a higher score never becomes a lower one.
        (Some((x0, y0)), Some((x1, y1))) => (y0 + (y1 - y0) * ((x - x0) / (x1 - x0))).min(*y1),
        (Some((_, y)), None) | (None, Some((_, y))) => *y,
        (None, None) => x,
    }
}

/// Isotonic regression of targets on scores by pooling adjacent violators, rows being score, target and weight: the first and
/// the last score of each level with its value.
/// Source: R. Barlow, D. Bartholomew, J. Bremner, H. Brunk, Statistical Inference under Order Restrictions, 1972.
fn isotonic(rows: &[(f64, f64, f64)]) -> Vec<(f64, f64)> {
    struct Level {
        first: f64,
        last: f64,
        sum: f64,
        weight: f64,
    }
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut levels: Vec<Level> = Vec::new();
    for (score, target, weight) in rows {
        let mut level = Level { first: score, last: score, sum: target * weight, weight };
        // Equal scores are one level from the start; so is whatever would fall.
        while let Some(before) =
            levels.pop_if(|before| before.last >= level.first || before.sum * level.weight >= level.sum * before.weight)
        {
            level.first = before.first;
            level.sum += before.sum;
            level.weight += before.weight;
        }
        levels.push(level);
    }
    let ends = |level: Level| {
        let value = (level.sum / level.weight).clamp(0.0, 1.0);
        let last = (level.last > level.first).then_some((level.last, value));
        [Some((level.first, value)), last].into_iter().flatten()
    };
    levels.into_iter().flat_map(ends).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;
    use crate::calibration::fit_platt;

    const SCORES: [f64; 13] = [0.1, 0.2, 0.2, 0.3, 0.35, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];
    const ANSWERS: [u8; 13] = [0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1];
    const WEIGHTS: [f64; 13] = [1.0, 2.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0];

    fn reviewed(weights: [f64; 13]) -> Vec<Reviewed> {
        let rows = SCORES.iter().zip(ANSWERS).zip(weights);
        rows.map(|((score, answer), weight)| Reviewed { score: *score, positive: answer == 1, weight }).collect()
    }

    /// Levels as scikit-learn 1.9 gives them: `IsotonicRegression(out_of_bounds="clip")`, `X_thresholds_`, `y_thresholds_`.
    #[test]
    fn levels_and_lines_are_those_of_scikit_learn() {
        let third = 1.0 / 3.0;
        for (weights, levels, predictions) in [
            (
                [1.0; 13],
                vec![(0.1, 0.0), (0.2, third), (0.3, third), (0.35, 0.5), (0.7, 0.5), (0.8, 1.0), (0.95, 1.0)],
                [0.0, 1.0 / 6.0, third, 13.0 / 30.0, 0.5, 0.5, 0.5, 0.75, 1.0, 1.0],
            ),
            (
                WEIGHTS,
                vec![(0.1, 0.0), (0.2, 0.25), (0.4, 0.25), (0.5, 0.4), (0.7, 0.4), (0.8, 1.0), (0.95, 1.0)],
                [0.0, 0.125, 0.25, 0.25, 0.325, 0.4, 0.4, 0.7, 1.0, 1.0],
            ),
        ] {
            let rows: Vec<_> = reviewed(weights)
                .iter()
                .rev()
                .map(|row| (row.score, if row.positive { 1.0 } else { 0.0 }, row.weight))
                .collect();
            let found = isotonic(&rows);
            assert_eq!(found.len(), levels.len(), "{found:?}");
            for (found, level) in found.iter().zip(&levels) {
                assert!((found.0 - level.0).abs() < 1e-12 && (found.1 - level.1).abs() < 1e-12, "{found:?} {level:?}");
            }
            for (x, expected) in [0.0, 0.15, 0.2, 0.33, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0].into_iter().zip(predictions)
            {
                assert!((interpolated(&found, x) - expected).abs() < 1e-12, "{x}");
            }
        }
    }

    #[test]
    fn without_weights_platt_is_the_one_of_training() {
        let rows = reviewed([1.0; 13]);
        let log_odds: Vec<f64> = SCORES.iter().map(|score| log_odds(*score)).collect();
        let Calibration { slope, offset } = fit_platt(&log_odds, &ANSWERS.map(|a| a == 1)).unwrap();
        for weight in [1.0, 3.0] {
            let rows: Vec<_> = rows.iter().map(|row| Reviewed { weight, ..*row }).collect();
            let Some(Mapping::Platt { slope: found, offset: added }) = Mapping::fit(Method::Platt, &rows) else {
                unreachable!("platt was asked for")
            };
            assert!((found - slope).abs() < 1e-9 && (added - offset).abs() < 1e-9, "{weight}");
        }
    }

    #[test]
    fn a_higher_score_never_becomes_lower_and_no_score_becomes_certain() {
        // A few thousand posts whose share of positives is jagged on purpose.
        let rows: Vec<_> = (0..4000_u32)
            .map(|i| Reviewed {
                score: f64::from((i * 7919) % 4001) / 4001.0,
                positive: (i * 7919) % 4001 > 1500 + (i * 613) % 2300,
                weight: f64::from(1 + i % 3),
            })
            .collect();
        for method in [Method::Platt, Method::Isotonic] {
            let mapping = Mapping::fit(method, &rows).unwrap();
            let mut before = 0.0;
            for millionth in 0..=1_000_000_u32 {
                let mapped = mapping.apply(f64::from(millionth) / 1e6);
                assert!(mapped >= before && mapped > 0.0 && mapped < 1.0, "{method:?} at {millionth}");
                before = mapped;
            }
        }
    }

    #[test]
    fn a_row_is_mapped_by_a_fit_that_never_saw_it() {
        let rows = reviewed([1.0; 13]);
        let folds: Vec<usize> = (0..13).map(|i| i % 2).collect();
        let mapped = Mapping::cross_validated(Method::Platt, &rows, &folds).unwrap();
        let odd: Vec<_> = rows.iter().skip(1).step_by(2).copied().collect();
        let by_odd = Mapping::fit(Method::Platt, &odd).unwrap();
        for (row, mapped) in rows.iter().zip(&mapped).step_by(2) {
            assert_eq!(by_odd.apply(row.score).to_bits(), mapped.score.to_bits());
        }
    }

    #[test]
    fn what_cannot_be_fitted_is_none() {
        for method in [Method::Platt, Method::Isotonic] {
            assert_eq!(Mapping::fit(method, &[]), None);
            let mut upside_down = reviewed([1.0; 13]);
            for row in &mut upside_down {
                row.positive = !row.positive;
            }
            assert_eq!(Mapping::fit(method, &upside_down), None, "{method:?}");
            let positive = [Reviewed { score: 0.3, positive: true, weight: 1.0 }; 3];
            assert_eq!(Mapping::fit(method, &positive), None);
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_refused() {
        let figure = Estimate { value: 0.1, low: 0.0, high: 0.2 };
        let model = ModelRef { name: "m".to_owned(), version: "1".to_owned(), sha256: "ab".repeat(32) };
        let good = DeploymentCalibration::new(
            "c1".to_owned(),
            model.clone(),
            Mapping::Isotonic { points: vec![(0.1, 0.2), (0.5, 0.9)] },
            Data { sha256: "cd".repeat(32), n: 10, positives: 5, effective_positives: 5.0 },
            Figures { folds: 5, ece_before: figure, ece_after: figure, brier_before: 0.2, brier_after: 0.1 },
        );
        let read = |calibration: &DeploymentCalibration| {
            DeploymentCalibration::read(&serde_json::to_vec(calibration).unwrap(), &model)
        };
        assert_eq!(read(&good).unwrap(), good);
        let refused = |change: &dyn Fn(&mut DeploymentCalibration)| {
            let mut bad = good.clone();
            change(&mut bad);
            read(&bad).unwrap_err().to_string()
        };
        assert!(refused(&|c| c.schema = "calibration/2".to_owned()).contains("calibration/1"));
        for version in ["", "a b", "a+b", &"x".repeat(33)] {
            assert!(refused(&|c| c.version = version.to_owned()).contains("`version`"));
        }
        assert!(refused(&|c| c.model.sha256 = "00".repeat(32)).contains("calibrate"));
        assert!(refused(&|c| c.mapping = Mapping::Platt { slope: 0.0, offset: 0.0 }).contains("slope"));
        for points in [
            vec![],
            vec![(0.1, 0.2)],
            vec![(0.1, 0.2), (0.1, 0.3)],
            vec![(0.1, 0.3), (0.2, 0.2)],
            vec![(0.1, 0.3), (0.2, 0.3)],
            vec![(0.1, 0.3), (0.2, 1.3)],
        ] {
            assert!(refused(&|c| c.mapping = Mapping::Isotonic { points: points.clone() }).contains("points"));
        }
        assert!(matches!(DeploymentCalibration::read(b"{", &model), Err(CalibrationError::Json(_))));
    }
}
