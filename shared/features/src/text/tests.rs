#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]
#![allow(clippy::single_range_in_vec_init, reason = "one window is what is expected there")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tokens::LONGEST_WORD;
use super::*;

const SPEC: NgramSpec =
    NgramSpec { bits: 20, word_max: 2, char_min: 3, char_max: 5, word_weight: 1.0, char_weight: 1.0 };
const WINDOW: WindowSpec = WindowSpec { tokens: 8, chars: 80, overlap: 2 };

fn shown(text: &str) -> Vec<(TokenKind, String)> {
    let tokenised = tokenise(text);
    tokenised.tokens().iter().map(|t| (t.kind, tokenised.folded(t).iter().collect())).collect()
}

fn words(text: &str) -> Vec<String> {
    shown(text).into_iter().map(|(_, folded)| folded).collect()
}

#[test]
fn tokens_are_words_symbols_and_what_is_folded_whole() {
    use TokenKind::{Number, Symbol, Url, User, Word};
    let cases: &[(&str, &[(TokenKind, &str)])] = &[
        ("", &[]),
        (" \t\n\u{a0}", &[]),
        ("Hi, YOU", &[(Word, "hi"), (Symbol, ","), (Word, "you")]),
        ("don't", &[(Word, "don"), (Symbol, "'"), (Word, "t")]),
        ("a@b.c", &[(Word, "a"), (Symbol, "@"), (Word, "b"), (Symbol, "."), (Word, "c")]),
        ("@Some_one: hi", &[(User, ""), (Symbol, ":"), (Word, "hi")]),
        ("@ home", &[(Symbol, "@"), (Word, "home")]),
        ("see HTTPS://x.example/a?b=c now", &[(Word, "see"), (Url, ""), (Word, "now")]),
        ("www.x.example", &[(Url, "")]),
        ("awww.nice", &[(Word, "awww"), (Symbol, "."), (Word, "nice")]),
        ("<user> [URL] <number>", &[(User, ""), (Url, ""), (Number, "")]),
        ("1488", &[(Word, "1488")]),
        ("<b>", &[(Symbol, "<"), (Word, "b"), (Symbol, ">")]),
        ("💩💩", &[(Symbol, "💩"), (Symbol, "💩")]),
        ("İstanbul ÉTÉ", &[(Word, "i\u{307}stanbul"), (Word, "été")]),
    ];
    for (text, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(kind, folded)| (*kind, (*folded).to_owned())).collect();
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn offsets_count_bytes_and_characters_of_the_raw_text() {
    let tokenised = tokenise("İé 💩 Ab");
    let places: Vec<_> = tokenised.tokens().iter().map(|t| (t.bytes.clone(), t.chars.clone())).collect();
    assert_eq!(places, [(0..4, 0..2), (5..9, 3..4), (10..12, 5..7)]);
}

#[test]
fn a_very_long_word_is_cut_into_overlapping_pieces() {
    let text: String = (0..200).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let pieces = words(&text);
    assert!(pieces.iter().all(|p| p.len() <= LONGEST_WORD));
    for five in text.as_bytes().windows(5) {
        let five = std::str::from_utf8(five).unwrap();
        assert!(pieces.iter().any(|p| p.contains(five)), "{five} was lost at a cut");
    }
    assert_eq!(words(&"x".repeat(LONGEST_WORD)).len(), 1);
}

#[test]
fn a_megabyte_in_one_word_takes_bounded_windows() {
    let tokenised = tokenise(&"a".repeat(1 << 20));
    let found = windows(&tokenised, &WINDOW);
    assert!(found.len() <= tokenised.tokens().len());
    assert_eq!(found.last().unwrap().end, tokenised.tokens().len());
}

#[test]
fn windows_are_bounded_overlap_and_cover() {
    let by_tokens = tokenise(&"a ".repeat(20));
    assert_eq!(windows(&by_tokens, &WINDOW), [0..8, 6..14, 12..20]);
    let by_chars = tokenise(&format!("{} ", "x".repeat(39)).repeat(5));
    assert_eq!(windows(&by_chars, &WINDOW), [0..2, 1..3, 2..4, 3..5]);
    assert_eq!(windows(&tokenise(""), &WINDOW), [0..0]);
    assert_eq!(windows(&tokenise("one"), &WindowSpec { tokens: 0, chars: 0, overlap: 9 }), [0..1]);
}

fn counts(text: &str, spec: &NgramSpec) -> BTreeMap<(View, u32), usize> {
    let tokenised = tokenise(text);
    let mut out = BTreeMap::new();
    ngrams(&tokenised, 0..tokenised.tokens().len(), spec, |n| *out.entry((n.view, n.bucket)).or_default() += 1);
    out
}

#[test]
fn ngrams_are_those_of_words_and_of_characters_with_edges() {
    // Two words and their pair; `_ab _abc abc abc_ bc_` style pieces of `abc` (3: 3, 4: 2, 5: 1) and of `de` (3: 2, 4: 1).
    let found = counts("abc de", &SPEC);
    assert_eq!(found.keys().filter(|(view, _)| *view == View::Word).count(), 3);
    assert_eq!(found.keys().filter(|(view, _)| *view == View::Char).count(), 9);
    // The order of words counts, an edge is not a letter, and a repetition is counted.
    assert_ne!(counts("abc de", &SPEC), counts("de abc", &SPEC));
    assert_eq!(counts("abc abc", &SPEC).values().max(), Some(&2));
    // Symbols and handles have no pieces; what is folded whole cannot be imitated by its name.
    assert!(counts("! @name", &SPEC).keys().all(|(view, _)| *view == View::Word));
    assert_ne!(counts("@name", &SPEC), counts("u", &SPEC));
    assert_eq!(counts("@name", &SPEC), counts("<USER>", &SPEC));
    assert_eq!(counts("ABC", &SPEC), counts("abc", &SPEC));
}

#[test]
fn each_view_has_the_length_of_its_weight() {
    let spec = NgramSpec { word_weight: 0.5, char_weight: 2.0, ..SPEC };
    let tokenised = tokenise("one two two three");
    let found = weighted_buckets(&tokenised, 0..4, &spec);
    for (view, length) in [(View::Word, 0.5), (View::Char, 2.0)] {
        let sum: f64 = found.iter().filter(|b| b.view == view).map(|b| f64::from(b.value).powi(2)).sum();
        assert!((sum.sqrt() - length).abs() < 1e-6);
    }
    let two = tokenise("two two two");
    let mut values: Vec<f32> =
        weighted_buckets(&two, 0..3, &NgramSpec { char_max: 0, ..spec }).iter().map(|b| b.value).collect();
    values.sort_by(f32::total_cmp);
    // `two` three times and `two two` twice: 1 + ln 3 against 1 + ln 2.
    assert!((f64::from(values[1] / values[0]) - (1.0 + 3_f64.ln()) / (1.0 + 2_f64.ln())).abs() < 1e-6);
    assert!(weighted_buckets(&tokenise(""), 0..0, &SPEC).is_empty());
}

#[test]
fn a_specification_out_of_range_is_refused() {
    assert_eq!(SPEC.check(), Ok(()));
    assert_eq!(NgramSpec { bits: 40, ..SPEC }.check().unwrap_err().field, "bits");
    assert_eq!(NgramSpec { word_max: 0, ..SPEC }.check().unwrap_err().field, "word_max");
    assert_eq!(NgramSpec { char_min: 0, ..SPEC }.check().unwrap_err().field, "char_min");
    assert_eq!(NgramSpec { char_weight: f32::NAN, ..SPEC }.check().unwrap_err().field, "char_weight");
}

/// Any characters, and texts of the kind that make tokenisers stumble.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "[ a-zA-Z0-9@<>\\[\\]#.:/_'\u{300}\u{200d}İßﬀ😀👩🏽‍🦱]{0,12}",
        Just("https://".to_owned()),
        Just("<user>".to_owned()),
        (1_usize..200).prop_map(|n| "Wİ".repeat(n)),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_token_is_where_it_says_and_nothing_is_lost(text in texts()) {
        let tokenised = tokenise(&text);
        let mut covered = 0;
        for token in tokenised.tokens() {
            let raw = text.get(token.bytes.clone()).unwrap();
            prop_assert!(!raw.is_empty());
            prop_assert_eq!(text[..token.bytes.start].chars().count(), token.chars.start);
            prop_assert_eq!(raw.chars().count(), token.chars.len());
            prop_assert!(tokenised.folded(token).len() <= LONGEST_WORD);
            if matches!(token.kind, TokenKind::Word | TokenKind::Symbol) {
                let lower: Vec<char> = raw.chars().flat_map(char::to_lowercase).collect();
                prop_assert_eq!(tokenised.folded(token), lower);
            }
            // Only white space lies between tokens.
            prop_assert!(text.get(covered..token.bytes.start).is_none_or(|gap| gap.trim().is_empty()));
            covered = token.bytes.end;
        }
        prop_assert!(text[covered..].trim().is_empty());
    }

    #[test]
    fn windows_cover_every_token_in_order(
        text in texts(), tokens in 0_usize..20, chars in 0_usize..200, overlap in 0_usize..20,
    ) {
        let tokenised = tokenise(&text);
        let spec = WindowSpec { tokens, chars, overlap };
        let found = windows(&tokenised, &spec);
        prop_assert_eq!(found[0].start, 0);
        prop_assert_eq!(found.last().unwrap().end, tokenised.tokens().len());
        for pair in found.windows(2) {
            prop_assert!(pair[0].start < pair[1].start && pair[1].start <= pair[0].end && pair[0].end < pair[1].end);
        }
        for window in found {
            prop_assert!(window.len() <= tokens.max(1));
            let length: usize = tokenised.tokens()[window.clone()].iter().map(|t| tokenised.folded(t).len()).sum();
            prop_assert!(length <= chars || window.len() <= 1);
        }
    }

    #[test]
    fn the_models_input_is_finite_sorted_and_repeatable(text in texts()) {
        let tokenised = tokenise(&text);
        for window in windows(&tokenised, &WINDOW) {
            let found = weighted_buckets(&tokenised, window.clone(), &SPEC);
            prop_assert!(found.windows(2).all(|p| (p[0].view, p[0].bucket) < (p[1].view, p[1].bucket)));
            prop_assert!(found.iter().all(|b| b.bucket < 1 << 20 && b.value > 0.0 && b.value <= 1.0 + 1e-6));
            prop_assert_eq!(found, weighted_buckets(&tokenise(&text), window, &SPEC));
        }
    }
}
