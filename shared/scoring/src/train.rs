//! Trains the linear model: logistic regression over hashed n-grams, by L-BFGS. No randomness and one thread, so the
//! same examples give the same weights to the last bit on one machine.

mod lbfgs;

use features::text::{NgramSpec, Tokenised, WindowSpec, counted_buckets, tokenise, weighted_buckets, windows};
use std::ops::Range;

use serde::Serialize;

use crate::calibration::softplus;
use crate::manifest::sigmoid;
use crate::stretch::OCCURRENCE;

/// How to train.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TrainConfig {
    /// Strength of the L2 penalty: `l2 / 2 * |w|^2` is added to the mean loss.
    pub l2: f64,
    /// Iterations of L-BFGS at most.
    pub iterations: usize,
    /// Weight of the class balance: 0 leaves the classes as they are, 1 gives both the same total weight.
    pub balance: f64,
    /// Scales each bucket by the log-ratio of its smoothed counts in the two classes before training, and folds the
    /// scale into the weight afterwards (S. Wang and C. Manning, Baselines and bigrams, 2012); `None` leaves it out.
    /// The number is the smoothing count.
    pub log_count_ratio: Option<f64>,
    /// Buckets in fewer examples than this get no weight.
    pub least_examples: u32,
}

/// Examples as sparse rows, ready to train on.
#[derive(Debug, Clone, Default)]
pub struct Examples {
    starts: Vec<usize>,
    buckets: Vec<u32>,
    values: Vec<f32>,
    positive: Vec<bool>,
    weights: Vec<f64>,
}

impl Examples {
    /// Adds a text: its first window as serving would read it. `weight` is how much it counts.
    pub fn push(&mut self, text: &str, positive: bool, weight: f64, ngrams: &NgramSpec, window: &WindowSpec) {
        let tokenised = tokenise(text);
        let first = windows(&tokenised, window).into_iter().next().unwrap_or_default();
        self.starts.push(self.buckets.len());
        for entry in weighted_buckets(&tokenised, first, ngrams) {
            self.buckets.push(entry.bucket);
            self.values.push(entry.value);
        }
        self.positive.push(positive);
        self.weights.push(weight);
    }

    /// Adds what a stretch of a text says, as a gate reads it: each n-gram counts as often as it occurs.
    pub fn push_stretch(
        &mut self,
        text: &Tokenised,
        stretch: Range<usize>,
        positive: bool,
        weight: f64,
        ngrams: &NgramSpec,
    ) {
        self.starts.push(self.buckets.len());
        for entry in counted_buckets(text, stretch, ngrams, OCCURRENCE) {
            self.buckets.push(entry.bucket);
            self.values.push(entry.value);
        }
        self.positive.push(positive);
        self.weights.push(weight);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.positive.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.positive.is_empty()
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let ends = self.starts.iter().skip(1).copied().chain([self.buckets.len()]);
        self.starts.iter().zip(ends).zip(self.positive.iter().zip(&self.weights)).map(
            |((&start, end), (&positive, &weight))| Row {
                buckets: self.buckets.get(start..end).unwrap_or_default(),
                values: self.values.get(start..end).unwrap_or_default(),
                positive,
                weight,
            },
        )
    }
}

struct Row<'a> {
    buckets: &'a [u32],
    values: &'a [f32],
    positive: bool,
    weight: f64,
}

/// A trained linear model.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearWeights {
    /// One weight a bucket.
    pub weights: Vec<f32>,
    /// The log-odds of a text without n-grams.
    pub bias: f64,
    /// Iterations it took.
    pub iterations: usize,
}

/// Trains over `2^bits` buckets. `progress` is called after each iteration with its number and the loss.
/// `None` if one of the classes has no example.
pub fn train(
    examples: &Examples,
    bits: u8,
    config: &TrainConfig,
    mut progress: impl FnMut(usize, f64),
) -> Option<LinearWeights> {
    let size = 1_usize << bits;
    let weight_of = |class: bool| -> f64 { examples.rows().filter(|r| r.positive == class).map(|r| r.weight).sum() };
    let (ups, downs) = (weight_of(true), weight_of(false));
    if ups <= 0.0 || downs <= 0.0 {
        return None;
    }
    let total = ups + downs;
    let share = |class: f64| (total / (2.0 * class)).powf(config.balance);
    let (up_share, down_share) = (share(ups), share(downs));
    let normaliser = ups * up_share + downs * down_share;
    let importance = |row: &Row<'_>| row.weight * if row.positive { up_share } else { down_share } / normaliser;
    let scale = bucket_scales(examples, size, config);

    // The last place of the parameters is the bias, which is not penalised.
    let mut parameters = vec![0.0; size + 1];
    let objective = |parameters: &[f64], gradient: &mut [f64]| -> f64 {
        let bias = parameters.last().copied().unwrap_or_default();
        let mut loss = 0.0;
        let mut bias_gradient = 0.0;
        for (g, p) in gradient.iter_mut().zip(parameters) {
            *g = config.l2 * p;
            loss += config.l2 * p * p / 2.0;
        }
        loss -= config.l2 * bias * bias / 2.0;
        for row in examples.rows() {
            let mut logit = bias;
            for (&bucket, &value) in row.buckets.iter().zip(row.values) {
                let bucket = bucket as usize;
                if let (Some(w), Some(s)) = (parameters.get(bucket), scale.get(bucket)) {
                    logit += w * s * f64::from(value);
                }
            }
            let importance = importance(&row);
            let target = if row.positive { 1.0 } else { 0.0 };
            loss += importance * (softplus(logit) - target * logit);
            let error = importance * (sigmoid(logit) - target);
            bias_gradient += error;
            for (&bucket, &value) in row.buckets.iter().zip(row.values) {
                let bucket = bucket as usize;
                if let (Some(g), Some(s)) = (gradient.get_mut(bucket), scale.get(bucket)) {
                    *g += error * s * f64::from(value);
                }
            }
        }
        if let Some(last) = gradient.last_mut() {
            *last = bias_gradient;
        }
        loss
    };
    let iterations = lbfgs::minimise(&mut parameters, objective, config.iterations, &mut progress);
    let bias = parameters.pop().unwrap_or_default();
    let weights = parameters.iter().zip(&scale).map(|(w, s)| (w * s) as f32).collect();
    Some(LinearWeights { weights, bias, iterations })
}

/// What each bucket's values are multiplied by: 0 for buckets too rare, else 1 or the log-count ratio.
fn bucket_scales(examples: &Examples, size: usize, config: &TrainConfig) -> Vec<f64> {
    let mut seen = vec![0_u32; size];
    let mut counts = [vec![0.0; size], vec![0.0; size]];
    for row in examples.rows() {
        let [downs, ups] = &mut counts;
        let side = if row.positive { ups } else { downs };
        for &bucket in row.buckets {
            let bucket = bucket as usize;
            if let (Some(seen), Some(count)) = (seen.get_mut(bucket), side.get_mut(bucket)) {
                *seen += 1;
                *count += row.weight;
            }
        }
    }
    let [downs, ups] = &counts;
    let smoothing = config.log_count_ratio.unwrap_or(1.0);
    let total = |side: &[f64]| side.iter().map(|c| c + smoothing).sum::<f64>();
    let (all_downs, all_ups) = (total(downs), total(ups));
    seen.iter()
        .zip(downs.iter().zip(ups))
        .map(|(seen, (down, up))| {
            if *seen < config.least_examples.max(1) {
                return 0.0;
            }
            match config.log_count_ratio {
                None => 1.0,
                Some(_) => (((up + smoothing) / all_ups) / ((down + smoothing) / all_downs)).ln().abs(),
            }
        })
        .collect()
}
