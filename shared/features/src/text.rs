//! Text features: tokens with their place in the raw text, windows over them, and hashed n-grams of words and
//! characters. Pure functions of the text; training and serving call the same ones.
//!
//! Evasion (leetspeak, spaced letters, look-alike letters) is undone in a reading of the text; the tokens of a reading are
//! lower-cased and cut, no more.

mod hash;
mod ngrams;
mod reading;
mod segments;
mod tokens;
mod windows;
mod wordpiece;

#[cfg(test)]
mod tests;

pub use hash::NgramHasher;
pub use ngrams::{Ngram, NgramSpec, NgramSpecError, View, WeightedBucket, ngrams, weighted_buckets};
pub use reading::{Reading, addressed, folded, plain, readings, rendered};
pub(crate) use reading::{as_written, is_english};
pub use segments::{clauses, pieces, segments};
pub use tokens::{Token, TokenKind, Tokenised, tokenise};
pub use windows::{WindowSpec, windows};
pub use wordpiece::{Piece, VocabularyError, WordPiece};
