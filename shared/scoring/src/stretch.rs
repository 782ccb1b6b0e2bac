//! The gate of a cascade: whether any stretch of a text says enough to ask the transformer.
//!
//! Each token has a weight, and so has each pair of neighbours: the sums of the weights of their n-grams. A stretch says the sum of what
//! is in it, and a text says what its heaviest stretch says. So words beside a stretch can add to what a text says and take nothing from
//! it: no harmless word, link or emoji closes the gate again (law 10).

use std::collections::VecDeque;
use std::ops::Range;

use features::text::{NgramSpec, Tokenised, ngrams};

use crate::linear::Linear;

/// Tokens of a stretch at most: what a text says does not grow with its length alone.
pub(crate) const LONGEST: usize = 24;
/// The value of an n-gram each time that it occurs. Small, so that weights are of the size that training expects.
pub const OCCURRENCE: f32 = 0.125;

/// What each token says by itself, and with the next one. N-grams of three words and more belong to no token and count nothing.
pub(crate) struct Weights {
    own: Vec<f64>,
    joint: Vec<f64>,
}

impl Weights {
    /// The weights of all tokens; `None` where the model has no weight for a bucket.
    pub(crate) fn of(text: &Tokenised, spec: &NgramSpec, linear: &Linear) -> Option<Self> {
        let count = text.tokens().len();
        let mut weights = Self { own: vec![0.0; count], joint: vec![0.0; count] };
        let mut known = true;
        ngrams(text, 0..count, spec, |ngram| {
            let Some(weight) = linear.weight(ngram.bucket) else {
                known = false;
                return;
            };
            let place = match ngram.tokens.len() {
                1 => weights.own.get_mut(ngram.tokens.start),
                2 => weights.joint.get_mut(ngram.tokens.start),
                _ => None,
            };
            if let Some(place) = place {
                *place += f64::from(weight * OCCURRENCE);
            }
        });
        known.then_some(weights)
    }

    /// The heaviest stretch of up to [`LONGEST`] tokens within a range, the first of equals, and what it says. An empty range has an empty
    /// stretch that says nothing.
    pub(crate) fn heaviest(&self, within: Range<usize>) -> (Range<usize>, f64) {
        let mut best = (within.start..within.start, f64::NEG_INFINITY);
        // What stands before a token and its pairs; the least of the last `LONGEST` is where the heaviest stretch begins.
        let (mut before, mut up_to) = (0.0, 0.0);
        let mut begins: VecDeque<(usize, f64)> = VecDeque::new();
        for at in within.clone() {
            while begins.back().is_some_and(|(_, least)| *least > before) {
                begins.pop_back();
            }
            begins.push_back((at, before));
            if begins.front().is_some_and(|(begin, _)| begin + LONGEST <= at) {
                begins.pop_front();
            }
            let own = self.own.get(at).copied().unwrap_or_default();
            let joint = self.joint.get(at).copied().unwrap_or_default();
            up_to += own;
            if let Some((begin, least)) = begins.front().copied()
                && up_to - least > best.1
            {
                best = (begin..at + 1, up_to - least);
            }
            // Here both sums take in the pair with the next token: it counts where both are inside.
            up_to += joint;
            before += own + joint;
        }
        if best.0.is_empty() { (best.0, 0.0) } else { best }
    }
}

/// The heaviest stretch of a text, in token indices: what the gate is trained on. `None` where the model has no weight for a bucket.
#[must_use]
pub fn heaviest(text: &Tokenised, spec: &NgramSpec, linear: &Linear) -> Option<Range<usize>> {
    Some(Weights::of(text, spec, linear)?.heaviest(0..text.tokens().len()).0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// By trying every stretch.
    fn slowly(weights: &Weights, within: Range<usize>) -> f64 {
        let mut best = f64::NEG_INFINITY;
        for start in within.clone() {
            for end in start + 1..=within.end.min(start + LONGEST) {
                let own: f64 = weights.own[start..end].iter().sum();
                let joint: f64 = weights.joint[start..end - 1].iter().sum();
                best = best.max(own + joint);
            }
        }
        best
    }

    proptest! {
        #[test]
        fn the_heaviest_stretch_is_that_of_all_stretches(
            (own, joint) in (1usize..80).prop_flat_map(|n| (prop::collection::vec(-3.0..2.0f64, n), prop::collection::vec(-1.0..1.0f64, n))),
            from in 0usize..10,
        ) {
            let weights = Weights { own, joint };
            let within = from.min(weights.own.len() - 1)..weights.own.len();
            let (stretch, says) = weights.heaviest(within.clone());
            prop_assert!((says - slowly(&weights, within.clone())).abs() < 1e-9);
            prop_assert!(!stretch.is_empty() && stretch.len() <= LONGEST && within.start <= stretch.start && stretch.end <= within.end);
        }
    }
}
