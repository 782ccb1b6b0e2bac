//! How good probabilities are, for one yes-or-no question. A measure that the data cannot answer (one class alone,
//! nothing predicted) is `None`, never a number that looks like an answer.

use serde::Serialize;

/// A scored example: the probability given and what is true.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Probability of the positive class, 0 to 1.
    pub score: f64,
    /// Whether the example is positive.
    pub positive: bool,
}

/// Measures over a set of examples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metrics {
    /// Examples.
    pub n: usize,
    /// Positive examples among them.
    pub positives: usize,
    /// Of those predicted positive, the share that is.
    pub precision: Option<f64>,
    /// Of the positive, the share predicted so.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall of the positive class.
    pub f1: Option<f64>,
    /// Mean of the F1 of both classes.
    pub macro_f1: Option<f64>,
    /// Of the negative, the share predicted positive.
    pub false_positive_rate: Option<f64>,
    /// Probability that a positive example scores above a negative one, ties counting half.
    pub auc_roc: Option<f64>,
    /// Average precision: the sum over distinct scores of the step in recall times the precision there.
    pub pr_auc: Option<f64>,
    /// Expected calibration error over 15 bins of equal width: the mean distance of mean score and share of positives.
    pub ece: Option<f64>,
}

/// Bins of the expected calibration error.
const ECE_BINS: usize = 15;

/// Measures `outcomes`, with a score of `threshold` or more predicted positive. Takes `O(n log n)`.
/// Scores must be numbers; a score that is not one is ordered above all others.
pub fn measure(outcomes: &[Outcome], threshold: f64) -> Metrics {
    let count = |predicted: bool, positive: bool| {
        outcomes
            .iter()
            .filter(|o| (o.score >= threshold) == predicted && o.positive == positive)
            .count()
    };
    let (hits, false_alarms) = (count(true, true), count(true, false));
    let (misses, rejections) = (count(false, true), count(false, false));
    let f1 = ratio(2 * hits, 2 * hits + false_alarms + misses);
    let negative_f1 = ratio(2 * rejections, 2 * rejections + false_alarms + misses);
    let both = hits + misses > 0 && false_alarms + rejections > 0;
    let mut descending = outcomes.to_vec();
    descending.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    Metrics {
        n: outcomes.len(),
        positives: hits + misses,
        precision: ratio(hits, hits + false_alarms),
        recall: ratio(hits, hits + misses),
        f1: f1.filter(|_| hits + misses > 0),
        macro_f1: f1.zip(negative_f1).filter(|_| both).map(|(a, b)| f64::midpoint(a, b)),
        false_positive_rate: ratio(false_alarms, false_alarms + rejections),
        auc_roc: auc_roc(&descending),
        pr_auc: average_precision(&descending),
        ece: calibration_error(outcomes),
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The sum over groups of equal scores, from the highest down: pairs won outright, and half of those tied.
fn auc_roc(descending: &[Outcome]) -> Option<f64> {
    let positives = descending.iter().filter(|o| o.positive).count();
    let negatives = descending.len() - positives;
    let (mut above, mut won) = (0.0, 0.0);
    for tied in descending.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq()) {
        let ups = tied.iter().filter(|o| o.positive).count() as f64;
        let downs = tied.len() as f64 - ups;
        won += downs * (above + ups / 2.0);
        above += ups;
    }
    (positives > 0 && negatives > 0).then(|| won / (positives as f64 * negatives as f64))
}

fn average_precision(descending: &[Outcome]) -> Option<f64> {
    let positives = descending.iter().filter(|o| o.positive).count();
    let (mut seen, mut hits, mut area) = (0, 0, 0.0);
    for tied in descending.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq()) {
        let ups = tied.iter().filter(|o| o.positive).count();
        seen += tied.len();
        hits += ups;
        area += ups as f64 * (hits as f64 / seen as f64);
    }
    (positives > 0 && positives < descending.len()).then(|| area / positives as f64)
}

fn calibration_error(outcomes: &[Outcome]) -> Option<f64> {
    let mut surplus = [0.0; ECE_BINS];
    for outcome in outcomes {
        let bin = ((outcome.score * ECE_BINS as f64) as usize).min(ECE_BINS - 1);
        if let Some(surplus) = surplus.get_mut(bin) {
            *surplus += outcome.score - if outcome.positive { 1.0 } else { 0.0 };
        }
    }
    (!outcomes.is_empty()).then(|| surplus.iter().map(|s| s.abs()).sum::<f64>() / outcomes.len() as f64)
}
