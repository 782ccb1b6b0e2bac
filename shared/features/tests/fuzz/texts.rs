//! Any text becomes tokens that say where they stand, windows that cover them, and a finite input of the model.

use crate::{ends, material};
use features::text::{NgramSpec, TokenKind, WindowSpec, tokenise, weighted_buckets, windows};
use std::time::Duration;

/// As in the bundled model.
const NGRAMS: NgramSpec =
    NgramSpec { bits: 18, word_max: 2, char_min: 3, char_max: 5, word_weight: 1.0, char_weight: 1.0 };
/// Smaller than in the bundled model, so that short inputs have several.
const WINDOW: WindowSpec = WindowSpec { tokens: 8, chars: 80, overlap: 2 };

#[test]
fn fuzz_texts() {
    bolero::check!(name = "texts").with_test_time(Duration::from_secs(1)).for_each(any_text);
}

#[test]
fn mutations_of_texts() {
    let material = material("texts");
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(200)
        .for_each(|recipe| any_text(&material.mutated(recipe)));
}

fn any_text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let tokenised = ends(|| tokenise(&text));
    let tokens = tokenised.tokens();
    // A token has a character of its own, pieces of a long word excepted, which overlap by a few.
    assert!(tokens.len() <= text.chars().count());
    let mut covered = 0;
    for (index, token) in tokens.iter().enumerate() {
        let raw = text.get(token.bytes.clone()).expect("tokens begin and end between characters");
        assert!(!raw.is_empty() && raw.chars().count() == token.chars.len());
        let folded = tokenised.folded(token);
        assert!(folded.len() <= 64);
        let is_kept = matches!(token.kind, TokenKind::Word | TokenKind::Symbol);
        assert!(if is_kept {
            raw.chars().flat_map(char::to_lowercase).eq(folded.iter().copied())
        } else {
            folded.is_empty()
        });
        if let Some(next) = tokens.get(index + 1) {
            assert!(token.bytes.start < next.bytes.start && token.bytes.end < next.bytes.end);
            assert!(token.chars.start < next.chars.start && token.chars.end < next.chars.end);
        }
        // Nothing but white space stands between tokens, and pieces of a word leave no gap.
        assert!(text.get(covered..token.bytes.start).is_none_or(|gap| gap.trim().is_empty()));
        covered = token.bytes.end;
    }
    assert!(text[covered..].trim().is_empty());

    let windows = ends(|| windows(&tokenised, &WINDOW));
    assert!(windows[0].start == 0 && windows[windows.len() - 1].end == tokens.len());
    assert!(
        windows
            .windows(2)
            .all(|two| two[0].start < two[1].start && two[1].start <= two[0].end && two[0].end < two[1].end)
    );
    for window in windows {
        let length: usize = tokens[window.clone()].iter().map(|token| tokenised.folded(token).len()).sum();
        assert!(window.len() <= WINDOW.tokens && (length <= WINDOW.chars || window.len() == 1));
        let buckets = weighted_buckets(&tokenised, window.clone(), &NGRAMS);
        // Pairs of words, and three lengths from each place of a word, its edges included.
        assert!(buckets.len() <= window.len() * 2 + (length + 2 * window.len()) * 3);
        assert!(buckets.windows(2).all(|two| (two[0].view, two[0].bucket) < (two[1].view, two[1].bucket)));
        assert!(buckets.iter().all(|b| b.bucket < 1 << NGRAMS.bits && b.value > 0.0 && b.value <= 1.000_001));
        assert_eq!(buckets, weighted_buckets(&tokenise(&text), window, &NGRAMS));
    }
}
