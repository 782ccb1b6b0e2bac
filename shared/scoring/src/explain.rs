//! From the shares of n-grams to the words a reader sees.

use std::collections::HashMap;
use std::ops::Range;

use domain::Span;
use features::text::{NgramSpec, Tokenised, View, WeightedBucket, ngrams};

/// Spans given at most.
const MOST_SPANS: usize = 5;

/// A span is named from this share of the heaviest one's weight. Annotators mark few words, and more spans agree less with them:
/// chosen on half of HateXplain's validation posts (EXPLANATION.md).
const LEAST_SHARE: f64 = 0.2;

/// The words of a window with their weights. A bucket's share is divided evenly over the n-grams that fell into it, an n-gram's
/// over the tokens it covers; pieces of one long word are one span.
pub(crate) fn spans(
    text: &Tokenised,
    window: Range<usize>,
    spec: &NgramSpec,
    shares: &[(WeightedBucket, f64)],
) -> Vec<Span> {
    let share: HashMap<(View, u32), f64> = shares.iter().map(|(b, s)| ((b.view, b.bucket), *s)).collect();
    let mut occurrences: HashMap<(View, u32), f64> = HashMap::new();
    ngrams(text, window.clone(), spec, |n| *occurrences.entry((n.view, n.bucket)).or_default() += 1.0);
    let mut weights = vec![0.0; window.len()];
    ngrams(text, window.clone(), spec, |n| {
        let key = (n.view, n.bucket);
        let (Some(share), Some(count)) = (share.get(&key), occurrences.get(&key)) else {
            return;
        };
        let each = share / count / u32::try_from(n.tokens.len()).map_or(1.0, f64::from);
        for token in n.tokens {
            if let Some(weight) = weights.get_mut(token - window.start) {
                *weight += each;
            }
        }
    });
    let mut spans: Vec<Span> = Vec::new();
    for (token, weight) in text.tokens().get(window).unwrap_or_default().iter().zip(weights) {
        match spans.last_mut() {
            Some(last) if token.chars.start < last.end => {
                last.end = token.chars.end;
                last.weight += weight;
            }
            _ => spans.push(Span { start: token.chars.start, end: token.chars.end, weight }),
        }
    }
    spans
}

/// The spans with weights of two decimals above zero, heaviest first; those that touch the same characters are one.
pub(crate) fn ordered(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, span.end));
    spans.dedup_by(|next, last| {
        let same = next.start < last.end;
        if same {
            last.end = last.end.max(next.end);
            last.weight += next.weight;
        }
        same
    });
    for span in &mut spans {
        span.weight = (span.weight * 100.0).round() / 100.0;
    }
    spans.retain(|span| span.weight > 0.0);
    spans.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.start.cmp(&b.start)));
    spans
}

/// What an explanation names of [`ordered`] spans: the first few, without those that weigh little beside the first.
pub(crate) fn named(mut spans: Vec<Span>) -> Vec<Span> {
    let least = spans.first().map_or(0.0, |heaviest| heaviest.weight * LEAST_SHARE);
    spans.retain(|span| span.weight >= least);
    spans.truncate(MOST_SPANS);
    spans
}
