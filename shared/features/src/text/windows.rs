//! Windows over a long text: the model reads a bounded stretch at a time.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::tokens::Tokenised;

/// How much of a text the model reads at once. Values of zero count as one; the overlap is kept below half a window,
/// so that each window moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// Tokens at most.
    pub tokens: usize,
    /// Lower-case characters of words and symbols at most; a window holds at least one token whatever its length.
    pub chars: usize,
    /// Tokens that a window repeats from the end of the one before; fewer where the characters do not allow it.
    pub overlap: usize,
}

/// Ranges of token indices that cover every token, in order, in time linear in the number of tokens.
/// A text without tokens gives one empty window.
pub fn windows(text: &Tokenised, spec: &WindowSpec) -> Vec<Range<usize>> {
    let tokens = text.tokens();
    let mut out = Vec::new();
    let mut start = 0;
    loop {
        let end = fill(text, start, spec);
        out.push(start..end);
        if end >= tokens.len() {
            return out;
        }
        start = step_back(text, start..end, spec);
    }
}

/// The end of the window that starts at token `start`.
fn fill(text: &Tokenised, start: usize, spec: &WindowSpec) -> usize {
    let mut chars = 0;
    let mut end = start;
    for token in text.tokens().iter().skip(start).take(spec.tokens.max(1)) {
        chars += token.folded.len();
        if chars > spec.chars && end > start {
            break;
        }
        end += 1;
    }
    end
}

/// Where the window after `last` starts: so far back that the first token after `last` still fits.
fn step_back(text: &Tokenised, last: Range<usize>, spec: &WindowSpec) -> usize {
    let length = |index: usize| text.tokens().get(index).map_or(0, |token| token.folded.len());
    let furthest = spec.overlap.min(spec.tokens / 2).min(last.len() / 2);
    let mut chars = length(last.end);
    let mut start = last.end;
    while last.end - start < furthest {
        chars += length(start - 1);
        if chars > spec.chars {
            break;
        }
        start -= 1;
    }
    start
}
