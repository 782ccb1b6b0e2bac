//! Hashed n-grams of words and of characters.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::hash::NgramHasher;
use super::tokens::{Token, TokenKind, Tokenised};

/// Which n-grams are taken and how they are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NgramSpec {
    /// N-grams are hashed into `2^bits` buckets.
    pub bits: u8,
    /// Longest n-gram of words, 1 to 4.
    pub word_max: u8,
    /// Shortest n-gram of characters within a word, its two edges counted as characters.
    pub char_min: u8,
    /// Longest n-gram of characters; below `char_min` for none.
    pub char_max: u8,
    /// Length of the vector of the word view, once normalised.
    pub word_weight: f32,
    /// Length of the vector of the character view, once normalised.
    pub char_weight: f32,
}

/// Why an [`NgramSpec`] cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("n-gram field `{field}` is out of range: {allowed}")]
pub struct NgramSpecError {
    /// The field.
    pub field: &'static str,
    /// What it may be.
    pub allowed: &'static str,
}

impl NgramSpec {
    /// Checks the ranges, for a specification that came out of a file.
    pub fn check(&self) -> Result<(), NgramSpecError> {
        let refuse = |field, allowed| Err(NgramSpecError { field, allowed });
        if !(8..=24).contains(&self.bits) {
            return refuse("bits", "8 to 24");
        }
        if !(1..=4).contains(&self.word_max) {
            return refuse("word_max", "1 to 4");
        }
        if !(2..=8).contains(&self.char_min) {
            return refuse("char_min", "2 to 8");
        }
        if self.char_max > 8 {
            return refuse("char_max", "8 at most");
        }
        let weight = |w: f32| w.is_finite() && (0.0..=100.0).contains(&w);
        if !weight(self.word_weight) {
            return refuse("word_weight", "0 to 100");
        }
        if !weight(self.char_weight) {
            return refuse("char_weight", "0 to 100");
        }
        Ok(())
    }
}

/// Which family an n-gram belongs to; each is normalised by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    /// N-grams of whole tokens.
    Word,
    /// N-grams of characters within a word.
    Char,
}

/// One occurrence of an n-gram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ngram {
    /// Its family.
    pub view: View,
    /// Where it is hashed to.
    pub bucket: u32,
    /// Indices of the tokens it covers.
    pub tokens: Range<usize>,
}

/// A bucket that occurs in a window, with its value in the model's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightedBucket {
    /// The family the bucket was reached from: one bucket may be listed once for each.
    pub view: View,
    /// The bucket.
    pub bucket: u32,
    /// `1 + ln(count)`, divided by the Euclidean norm of its view and multiplied by the view's weight.
    pub value: f32,
}

const TAG_WORD: u8 = 1;
const TAG_CHAR: u8 = 2;
// Bytes that never occur in UTF-8 mark structure, so that no text can imitate it.
const NEXT_WORD: u8 = 0xff;
const WORD_EDGE: u8 = 0xfe;
const FOLDED_WHOLE: u8 = 0xfd;

/// Calls `visit` with each occurrence of an n-gram among the tokens of `window`, in a fixed order.
pub fn ngrams(text: &Tokenised, window: Range<usize>, spec: &NgramSpec, mut visit: impl FnMut(Ngram)) {
    let tokens = text.tokens().get(window.clone()).unwrap_or_default();
    for (offset, token) in tokens.iter().enumerate() {
        let index = window.start + offset;
        let mut hasher = NgramHasher::new(TAG_WORD);
        for (more, next) in tokens.iter().skip(offset).take(usize::from(spec.word_max)).enumerate() {
            if more > 0 {
                hasher.byte(NEXT_WORD);
            }
            take_token(&mut hasher, text, next);
            visit(Ngram { view: View::Word, bucket: hasher.bucket(spec.bits), tokens: index..index + more + 1 });
        }
        if token.kind == TokenKind::Word {
            char_ngrams(text.folded(token), spec, |bucket| {
                visit(Ngram { view: View::Char, bucket, tokens: index..index + 1 });
            });
        }
    }
}

fn take_token(hasher: &mut NgramHasher, text: &Tokenised, token: &Token) {
    let name = match token.kind {
        TokenKind::Word | TokenKind::Symbol => {
            text.folded(token).iter().for_each(|c| hasher.char(*c));
            return;
        }
        TokenKind::Url => b'l',
        TokenKind::User => b'u',
        TokenKind::Number => b'n',
    };
    hasher.byte(FOLDED_WHOLE);
    hasher.byte(name);
}

fn char_ngrams(word: &[char], spec: &NgramSpec, mut visit: impl FnMut(u32)) {
    let (shortest, longest) = (usize::from(spec.char_min), usize::from(spec.char_max));
    // Positions 0 and `word.len() + 1` are the word's edges.
    for start in 0..=word.len() {
        let mut hasher = NgramHasher::new(TAG_CHAR);
        for length in 1..=longest.min(word.len() + 2 - start) {
            match (start + length - 1).checked_sub(1).and_then(|i| word.get(i)) {
                Some(character) => hasher.char(*character),
                None => hasher.byte(WORD_EDGE),
            }
            if length >= shortest {
                visit(hasher.bucket(spec.bits));
            }
        }
    }
}

/// The model's input for the tokens of `window`: sorted by view and bucket, each pair once. Empty for no tokens.
pub fn weighted_buckets(text: &Tokenised, window: Range<usize>, spec: &NgramSpec) -> Vec<WeightedBucket> {
    let mut found: Vec<(View, u32)> = Vec::new();
    ngrams(text, window, spec, |ngram| found.push((ngram.view, ngram.bucket)));
    found.sort_unstable();
    let mut out: Vec<WeightedBucket> = Vec::with_capacity(found.len());
    for equal in found.chunk_by(|a, b| a == b) {
        if let Some(&(view, bucket)) = equal.first() {
            out.push(WeightedBucket { view, bucket, value: damped(equal.len()) });
        }
    }
    for view in out.chunk_by_mut(|a, b| a.view == b.view) {
        let weight = match view.first().map(|b| b.view) {
            Some(View::Word) => spec.word_weight,
            _ => spec.char_weight,
        };
        let norm = view.iter().map(|b| f64::from(b.value).powi(2)).sum::<f64>().sqrt();
        for bucket in view {
            bucket.value = narrow(f64::from(bucket.value) * f64::from(weight) / norm);
        }
    }
    out
}

/// The buckets of the tokens of `window`, sorted by view and bucket, each pair once; a value is `each` times how often the bucket occurs.
/// Unlike [`weighted_buckets`] nothing is normalised: what one token says does not depend on the others.
pub fn counted_buckets(text: &Tokenised, window: Range<usize>, spec: &NgramSpec, each: f32) -> Vec<WeightedBucket> {
    let end = window.end;
    let mut found: Vec<(View, u32)> = Vec::new();
    ngrams(text, window, spec, |ngram| {
        if ngram.tokens.end <= end && ngram.tokens.len() <= 2 {
            found.push((ngram.view, ngram.bucket));
        }
    });
    found.sort_unstable();
    let counted = |equal: &[(View, u32)]| {
        let &(view, bucket) = equal.first()?;
        Some(WeightedBucket { view, bucket, value: narrow(equal.len() as f64) * each })
    };
    found.chunk_by(|a, b| a == b).filter_map(counted).collect()
}

/// `1 + ln(count)`: the tenth repetition says less than the first.
fn damped(count: usize) -> f32 {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    narrow(1.0 + f64::from(count).ln())
}

fn narrow(value: f64) -> f32 {
    value as f32
}
