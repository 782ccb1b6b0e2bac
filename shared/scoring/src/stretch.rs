//! The gate of a cascade: whether any stretch of a text says enough to ask the transformer.
//!
//! A stretch is up to [`LONGEST`] tokens in a row. It says what the linear graph would say of it by itself: the sum of the weights of its
//! n-grams, divided by the root of their number, words and letters each by themselves. A text says what its most telling stretch says. Words
//! beside a stretch take nothing from that: no harmless word, link or emoji closes the gate again (law 10).

use std::ops::Range;

use features::text::{NgramSpec, Tokenised, View, ngrams};

use crate::linear::Linear;

/// Tokens of a stretch at most: what a text says does not grow with its length alone.
pub(crate) const LONGEST: usize = 24;
/// A stretch of fewer n-grams is divided by the root of these: one word that is telling in few letters says less than a sentence. Chosen on
/// validation rows among seven pairs: of hate that the transformer would find 2 % are missed at the least share of everyday posts asked about.
const LEAST_OF_WORDS: f64 = 13.0;
const LEAST_OF_LETTERS: f64 = 90.0;

/// What a token brings into a stretch.
#[derive(Clone, Copy, Default)]
struct Brings {
    /// The weight of the word by itself.
    word: f64,
    /// Of the word and the one before it, where that one is in the stretch too.
    pair: f64,
    /// Of its n-grams of letters, and how many these are.
    letters: f64,
    count: f64,
}

/// A text, ready to be asked what its stretches say.
pub(crate) struct Stretches {
    tokens: Vec<Brings>,
}

impl Stretches {
    /// `None` where the graph has no weight for a bucket. N-grams of three words and more count nothing: [`crate::model`] refuses such a model.
    pub(crate) fn of(text: &Tokenised, spec: &NgramSpec, linear: &Linear) -> Option<Self> {
        let mut tokens = vec![Brings::default(); text.tokens().len()];
        let mut known = true;
        ngrams(text, 0..tokens.len(), spec, |ngram| {
            let Some(weight) = linear.weight(ngram.bucket) else {
                known = false;
                return;
            };
            let last = ngram.tokens.end.saturating_sub(1);
            let Some(token) = tokens.get_mut(last) else { return };
            match (ngram.view, ngram.tokens.len()) {
                (View::Char, _) => {
                    token.letters += f64::from(weight * spec.char_weight);
                    token.count += 1.0;
                }
                (View::Word, 1) => token.word += f64::from(weight * spec.word_weight),
                (View::Word, 2) => token.pair += f64::from(weight * spec.word_weight),
                (View::Word, _) => {}
            }
        });
        known.then_some(Self { tokens })
    }

    /// The most telling stretch within a range of tokens, the first of equals, and what it says in log-odds without the graph's bias. An
    /// empty range has an empty stretch that says nothing.
    pub(crate) fn most_telling(&self, within: Range<usize>) -> (Range<usize>, f64) {
        let mut best = (within.start..within.start, f64::NEG_INFINITY);
        for start in within.clone() {
            let (mut words, mut of_words, mut letters, mut of_letters) = (0.0, 0.0, 0.0, 0.0);
            let end = within.end.min(start + LONGEST);
            for (at, token) in self.tokens.iter().enumerate().take(end).skip(start) {
                let inside = at > start;
                words += if inside { token.word + token.pair } else { token.word };
                of_words += if inside { 2.0 } else { 1.0 };
                letters += token.letters;
                of_letters += token.count;
                let says = words / f64::max(of_words, LEAST_OF_WORDS).sqrt()
                    + letters / f64::max(of_letters, LEAST_OF_LETTERS).sqrt();
                if says > best.1 {
                    best = (start..at + 1, says);
                }
            }
        }
        if best.0.is_empty() { (best.0, 0.0) } else { best }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn stretches(brings: &[(f64, f64, f64, u8)]) -> Stretches {
        let token = |&(word, pair, letters, count): &_| Brings { word, pair, letters, count: f64::from(count) };
        Stretches { tokens: brings.iter().map(token).collect() }
    }

    fn some(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<(f64, f64, f64, u8)>> {
        prop::collection::vec((-3.0..3.0f64, -1.0..1.0f64, -9.0..9.0f64, 0u8..40), count)
    }

    proptest! {
        #[test]
        fn nothing_that_is_added_takes_anything_away(before in some(0..30), text in some(1..40), behind in some(0..30)) {
            let (_, alone) = stretches(&text).most_telling(0..text.len());
            let all: Vec<_> = before.iter().chain(&text).chain(&behind).copied().collect();
            let (stretch, says) = stretches(&all).most_telling(0..all.len());
            prop_assert!(says >= alone);
            prop_assert!(!stretch.is_empty() && stretch.len() <= LONGEST && stretch.end <= all.len());
            // What a range says is what its tokens say by themselves, but for the pair with a token before it.
            let (within, same) = stretches(&all).most_telling(before.len()..before.len() + text.len());
            prop_assert!((same - alone).abs() < 1e-9 && within.start >= before.len());
        }
    }

    #[test]
    fn an_empty_text_says_nothing() {
        assert_eq!(stretches(&[]).most_telling(0..0), (0..0, 0.0));
        // 26 / root of 13, and letters whose number is above the least.
        let (stretch, says) = stretches(&[(26.0, 5.0, 20.0, 100)]).most_telling(0..1);
        assert!(stretch == (0..1) && (says - (26.0 / 13f64.sqrt() + 2.0)).abs() < 1e-12);
    }
}
