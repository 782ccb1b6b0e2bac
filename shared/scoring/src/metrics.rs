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

/// Measures over texts that belong to exactly one of three classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Texts.
    pub n: usize,
    /// Share for which the likeliest class is the true one.
    pub accuracy: Option<f64>,
    /// Mean over the classes of their F1.
    pub macro_f1: Option<f64>,
    /// Mean over ordered pairs of classes of the AUC-ROC among their texts, by the probability of the first: one against one, as the
    /// authors of HateXplain measure it. Source: D. Hand and R. Till, A simple generalisation of the area under the ROC curve, 2001.
    pub auc_roc: Option<f64>,
}

/// Measures rows of the probabilities of three classes and the place of the true one.
pub fn measure_classes(rows: &[([f64; 3], usize)]) -> ClassMetrics {
    let likeliest = |scores: &[f64; 3]| {
        scores.iter().enumerate().fold((0, f64::MIN), |best, (i, s)| if *s > best.1 { (i, *s) } else { best }).0
    };
    let count = |keep: &dyn Fn(usize, usize) -> bool| {
        rows.iter().filter(|(scores, class)| keep(likeliest(scores), *class)).count()
    };
    let f1 = |class: usize| {
        let (predicted, there) = (count(&|p, _| p == class), count(&|_, t| t == class));
        (there > 0).then_some(2.0 * count(&|p, t| p == class && t == class) as f64 / (predicted + there).max(1) as f64)
    };
    let mean = |all: Vec<Option<f64>>| -> Option<f64> {
        let known: Vec<f64> = all.into_iter().collect::<Option<_>>()?;
        Some(known.iter().sum::<f64>() / known.len() as f64)
    };
    let pair = |first: usize, second: usize| {
        let outcome = |(scores, class): &([f64; 3], usize)| {
            let score = scores.get(first).copied().unwrap_or_default();
            (*class == first || *class == second).then_some(Outcome { score, positive: *class == first })
        };
        let mut outcomes: Vec<_> = rows.iter().filter_map(outcome).collect();
        outcomes.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
        auc_roc(&outcomes)
    };
    ClassMetrics {
        n: rows.len(),
        accuracy: ratio(count(&|p, t| p == t), rows.len()),
        macro_f1: mean((0..3).map(f1).collect()),
        auc_roc: mean([(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)].map(|(a, b)| pair(a, b)).to_vec()),
    }
}

/// Bins of the expected calibration error.
const ECE_BINS: usize = 15;

/// Measures `outcomes`, with a score of `threshold` or more predicted positive. Takes `O(n log n)`.
/// Scores must be numbers; a score that is not one is ordered above all others.
pub fn measure(outcomes: &[Outcome], threshold: f64) -> Metrics {
    let count = |predicted: bool, positive: bool| {
        outcomes.iter().filter(|o| (o.score >= threshold) == predicted && o.positive == positive).count()
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
        ece: calibration_error(outcomes.iter().map(|o| (o.score, o.positive, 1.0))),
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

/// The expected calibration error of scores and answers, each counting as much as its weight.
pub(crate) fn calibration_error(rows: impl Iterator<Item = (f64, bool, f64)>) -> Option<f64> {
    let (mut surplus, mut all) = ([0.0; ECE_BINS], 0.0);
    for (score, positive, weight) in rows {
        let bin = ((score * ECE_BINS as f64) as usize).min(ECE_BINS - 1);
        if let Some(surplus) = surplus.get_mut(bin) {
            *surplus += weight * (score - if positive { 1.0 } else { 0.0 });
        }
        all += weight;
    }
    (all > 0.0).then(|| surplus.iter().map(|s| s.abs()).sum::<f64>() / all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;

    fn outcomes(scores: &[f64], answers: &[u8]) -> Vec<Outcome> {
        scores.iter().zip(answers).map(|(score, answer)| Outcome { score: *score, positive: *answer == 1 }).collect()
    }

    /// In the order precision, recall, F1, macro-F1, AUC-ROC, average precision, ECE.
    fn check(outcomes: &[Outcome], expected: [f64; 7]) {
        let m = measure(outcomes, 0.5);
        let found = [m.precision, m.recall, m.f1, m.macro_f1, m.auc_roc, m.pr_auc, m.ece];
        for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found.unwrap() - expected).abs() < 1e-12, "measure {place} is {found:?}, not {expected}");
        }
    }

    // Expected numbers: scikit-learn 1.x (`precision_score`, `recall_score`, `f1_score`, `roc_auc_score`,
    // `average_precision_score`); ECE by NumPy from its definition.
    #[test]
    fn measures_equal_those_of_scikit_learn() {
        check(
            &outcomes(&[0.1, 0.4, 0.35, 0.8, 0.65, 0.9, 0.5, 0.05], &[0, 0, 1, 1, 0, 1, 1, 0]),
            [0.75, 0.75, 0.75, 0.75, 0.8125, 0.854_166_666_666_666_6, 0.331_25],
        );
        check(
            &outcomes(&[0.5, 0.5, 0.5, 0.2, 0.2, 0.9, 0.9, 0.9, 0.9, 0.1], &[1, 0, 1, 0, 1, 1, 1, 0, 1, 0]),
            [
                0.714_285_714_285_714_3,
                0.833_333_333_333_333_4,
                0.769_230_769_230_769_2,
                0.670_329_670_329_670_4,
                0.708_333_333_333_333_4,
                0.724_206_349_206_349_2,
                0.18,
            ],
        );
        check(
            &outcomes(&[0.5; 6], &[1, 0, 0, 1, 0, 0]),
            [0.333_333_333_333_333_3, 1.0, 0.5, 0.25, 0.5, 0.333_333_333_333_333_3, 0.166_666_666_666_666_66],
        );
    }

    #[test]
    fn measures_of_many_outcomes_equal_those_of_scikit_learn() {
        let many: Vec<Outcome> = (0..500_u32)
            .map(|i| {
                let score = f64::from((i * 7919) % 101) / 101.0;
                Outcome { score, positive: (i * 31) % 7 < 2 || score > 0.8 }
            })
            .collect();
        assert_eq!(measure(&many, 0.5).positives, 213);
        check(
            &many,
            [
                0.570_850_202_429_149_7,
                0.661_971_830_985_915_5,
                0.613_043_478_260_869_6,
                0.641_706_924_315_619_9,
                0.728_681_029_265_021_2,
                0.767_170_601_720_047,
                0.200_891_089_108_910_9,
            ],
        );
        let backwards: Vec<Outcome> = many.iter().rev().copied().collect();
        assert_eq!(measure(&many, 0.5).auc_roc, measure(&backwards, 0.5).auc_roc);
    }

    #[test]
    fn measures_of_three_classes_equal_those_of_scikit_learn() {
        let rows = [
            ([0.7, 0.2, 0.1], 0),
            ([0.4, 0.5, 0.1], 0),
            ([0.3, 0.3, 0.4], 0),
            ([0.2, 0.6, 0.2], 1),
            ([0.5, 0.4, 0.1], 1),
            ([0.1, 0.3, 0.6], 1),
            ([0.3, 0.1, 0.6], 2),
            ([0.6, 0.3, 0.1], 2),
            ([0.2, 0.35, 0.45], 2),
        ];
        // accuracy_score, f1_score(average="macro"), roc_auc_score(multi_class="ovo", average="macro").
        let found = measure_classes(&rows);
        for (found, expected) in [
            (found.accuracy, 0.444_444_444_444_444_4),
            (found.macro_f1, 0.434_920_634_920_634_9),
            (found.auc_roc, 0.731_481_481_481_481_5),
        ] {
            assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} is not {expected}");
        }
        let two = measure_classes(&rows[..6]);
        assert_eq!((two.n, two.macro_f1, two.auc_roc), (6, None, None));
    }

    #[test]
    fn what_cannot_be_answered_is_none() {
        let none = measure(&[], 0.5);
        assert_eq!(
            [none.precision, none.recall, none.f1, none.macro_f1, none.auc_roc, none.pr_auc, none.ece],
            [None; 7]
        );
        let positives = measure(&outcomes(&[0.9, 0.2], &[1, 1]), 0.5);
        assert_eq!((positives.precision, positives.recall), (Some(1.0), Some(0.5)));
        assert_eq!([positives.macro_f1, positives.auc_roc, positives.pr_auc, positives.false_positive_rate], [None; 4]);
        let negatives = measure(&outcomes(&[0.9, 0.2], &[0, 0]), 0.5);
        assert_eq!((negatives.precision, negatives.false_positive_rate), (Some(0.0), Some(0.5)));
        assert_eq!([negatives.recall, negatives.f1, negatives.macro_f1, negatives.auc_roc], [None; 4]);
        let unsure = measure(&outcomes(&[0.4, 0.2], &[1, 0]), 0.5);
        assert_eq!((unsure.precision, unsure.recall, unsure.f1), (None, Some(0.0), Some(0.0)));
    }

    #[test]
    fn a_score_at_the_threshold_is_predicted_positive_and_one_is_in_the_last_bin() {
        assert_eq!(measure(&outcomes(&[0.5], &[1]), 0.5).recall, Some(1.0));
        assert_eq!(measure(&outcomes(&[1.0], &[1]), 0.5).ece, Some(0.0));
    }
}
