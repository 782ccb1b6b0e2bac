//! From a text to rows of token ids, and from rows to tensors.

use tokenizers::{Encoding, Tokenizer, TruncationDirection};

use super::ForeignError;

/// Windows of one reading that are read: of more, those that lie evenly over the text, its first and last among them.
const MOST_WINDOWS: usize = 32;

/// A tokenizer that gives windows. Whatever its file says of padding and truncation does not count.
pub(super) struct Windows {
    tokenizer: Tokenizer,
    /// The id of a pad, where the tokenizer has one.
    pad: Option<i64>,
    ids: usize,
    /// Tokens of a window, without those that the tokenizer adds.
    content: usize,
}

impl Windows {
    pub(super) fn new(mut tokenizer: Tokenizer, max_tokens: usize) -> Result<Self, ForeignError> {
        let named = || ["[PAD]", "<pad>"].iter().find_map(|token| tokenizer.token_to_id(token));
        let pad = tokenizer.get_padding().map(|padding| padding.pad_id).or_else(named).map(i64::from);
        let ids = tokenizer.get_vocab(true).into_values().max().map_or(0, |last| last as usize + 1);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(ForeignError::Tokenizer)?;
        let added = tokenizer.encode("", true).map_err(ForeignError::Tokenizer)?.len();
        let content = max_tokens.saturating_sub(added);
        if content < 4 {
            let (value, supported) = (max_tokens.to_string(), "four more than the tokens that the tokenizer adds");
            return Err(ForeignError::Unsupported { field: "max_tokens", value, supported });
        }
        Ok(Self { tokenizer, pad, ids, content })
    }

    /// Ids lie below this.
    pub(super) fn ids(&self) -> usize {
        self.ids
    }

    pub(super) fn pad(&self) -> Option<i64> {
        self.pad
    }

    /// The rows of a text, in its order; none where it has no token. The tokenizer's own truncation would stop after two windows.
    pub(super) fn of(&self, text: &str) -> Result<Vec<Vec<i64>>, &'static str> {
        let failed = |_| "tokenizer_failed";
        let mut first = self.tokenizer.encode_fast(text, false).map_err(failed)?;
        first.truncate(self.content, self.content / 4, TruncationDirection::Right);
        let others = first.take_overflowing();
        let mut windows: Vec<Option<Encoding>> = std::iter::once(first).chain(others).map(Some).collect();
        let mut rows = Vec::new();
        for at in evenly(windows.len()) {
            let Some(window) = windows.get_mut(at).and_then(Option::take) else { continue };
            let whole = self.tokenizer.post_process(window, None, true).map_err(failed)?;
            rows.push(whole.get_ids().iter().map(|id| i64::from(*id)).collect::<Vec<_>>());
        }
        rows.retain(|row| !row.is_empty());
        Ok(rows)
    }
}

/// Up to [`MOST_WINDOWS`] of `count` places, evenly, the first and the last among them.
fn evenly(count: usize) -> impl Iterator<Item = usize> {
    let kept = count.min(MOST_WINDOWS);
    (0..kept).map(move |at| at * count.saturating_sub(1) / kept.saturating_sub(1).max(1))
}

/// Rows padded to the longest among them, in row-major order.
pub(super) struct Padded {
    pub rows: usize,
    pub length: usize,
    pub ids: Vec<i64>,
    /// 1 for a token, 0 for a pad, pads that a row already ends with included.
    pub mask: Vec<i64>,
}

impl Padded {
    pub(super) fn of(rows: &[&[i64]], pad: Option<i64>) -> Self {
        let length = rows.iter().map(|row| row.len()).max().unwrap_or_default();
        let mut padded = Self {
            rows: rows.len(),
            length,
            ids: Vec::with_capacity(rows.len() * length),
            mask: Vec::with_capacity(rows.len() * length),
        };
        for (at, row) in rows.iter().enumerate() {
            let tokens = row.iter().rposition(|id| Some(*id) != pad).map_or(0, |last| last + 1);
            padded.ids.extend(*row);
            padded.ids.resize((at + 1) * length, pad.unwrap_or_default());
            padded.mask.resize(at * length + tokens, 1);
            padded.mask.resize((at + 1) * length, 0);
        }
        padded
    }
}

/// `1 / (1 + exp(-x))`.
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(super) fn six_decimals(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_padded_to_the_longest_and_masked() {
        let padded = Padded::of(&[&[5, 6, 7], &[8], &[9, 0, 0]], Some(0));
        assert_eq!((padded.rows, padded.length), (3, 3));
        assert_eq!(padded.ids, [5, 6, 7, 8, 0, 0, 9, 0, 0]);
        assert_eq!(padded.mask, [1, 1, 1, 1, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn of_many_windows_the_first_the_last_and_some_between_are_read() {
        assert_eq!(evenly(0).count(), 0);
        assert_eq!(evenly(1).collect::<Vec<_>>(), [0]);
        assert_eq!(evenly(32).collect::<Vec<_>>(), (0..32).collect::<Vec<_>>());
        let kept: Vec<_> = evenly(1000).collect();
        assert_eq!((kept.len(), kept.first(), kept.last()), (32, Some(&0), Some(&999)));
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
