#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use proptest::prelude::*;

use super::*;

const VOCABULARY: &str =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\nhello\nun\n##aff\n##able\n##a\na\n!\n[\n]\ncls\n中\n文\nete\ni\n##i\n😀\n";

fn pieces(text: &str) -> Vec<(u32, std::ops::Range<u32>, bool)> {
    let vocabulary = WordPiece::new(VOCABULARY).unwrap();
    vocabulary.pieces(text).into_iter().map(|p| (p.id, p.chars, p.starts_word)).collect()
}

#[test]
fn pieces_are_the_longest_that_the_vocabulary_has() {
    type Expected<'a> = &'a [(u32, std::ops::Range<u32>, bool)];
    let cases: &[(&str, Expected<'_>)] = &[
        ("", &[]),
        (" \t\u{a0}\u{200b}\0", &[]),
        ("Hello!", &[(4, 0..5, true), (10, 5..6, true)]),
        ("unAFFable", &[(5, 0..2, true), (6, 2..5, false), (7, 5..9, false)]),
        ("una", &[(5, 0..2, true), (8, 2..3, false)]),
        ("unx a", &[(1, 0..3, true), (9, 4..5, true)]),
        ("[CLS]", &[(11, 0..1, true), (13, 1..4, true), (12, 4..5, true)]),
        ("a中文a", &[(9, 0..1, true), (14, 1..2, true), (15, 2..3, true), (9, 3..4, true)]),
        ("Été e\u{301}te\u{301}", &[(16, 0..3, true), (16, 4..8, true)]),
        ("he\u{200d}ll\u{fffd}o", &[(4, 0..7, true)]),
        ("İi", &[(17, 0..1, true), (18, 1..2, false)]),
        ("😀 💩", &[(19, 0..1, true), (1, 2..3, true)]),
        ("##a", &[(1, 0..1, true), (1, 1..2, true), (9, 2..3, true)]),
    ];
    for (text, expected) in cases {
        assert_eq!(pieces(text), *expected, "{text:?}");
    }
    assert_eq!(pieces(&"a".repeat(100)).len(), 100);
    assert_eq!(pieces(&"a".repeat(101)), [(1, 0..101, true)]);
}

#[test]
fn a_megabyte_in_one_word_is_one_piece() {
    assert_eq!(pieces(&"a".repeat(1 << 20)), [(1, 0..1 << 20, true)]);
    assert_eq!(pieces(&"\u{302e}".repeat(1 << 20)), [(1, 0..1 << 20, true)]);
}

#[test]
fn a_vocabulary_says_what_is_wrong_with_it() {
    let refused = |text: &str| WordPiece::new(text).unwrap_err();
    assert_eq!(refused(""), VocabularyError::Missing("[UNK]"));
    assert_eq!(refused("[UNK]\n[SEP]"), VocabularyError::Missing("[CLS]"));
    assert_eq!(refused("[UNK]\n[CLS]"), VocabularyError::Missing("[SEP]"));
    let duplicate = VocabularyError::Duplicate { token: "##aff".to_owned(), line: 21 };
    assert_eq!(refused(&format!("{VOCABULARY}##aff")), duplicate);
    let numbered = |count: usize| -> String { (0..count - 3).map(|i| format!("{i}\n")).collect() };
    assert_eq!(refused(&numbered(65_540)), VocabularyError::TooLong(65_537));
    let largest = WordPiece::new(&format!("{}[CLS]\r\n[SEP] \n[UNK]", numbered(65_536))).unwrap();
    assert_eq!((largest.len(), largest.start(), largest.end(), largest.unknown()), (65_536, 65_533, 65_534, 65_535));
    assert!(!largest.is_empty());
    assert_eq!(format!("{largest:?}"), "WordPiece { tokens: 65536, .. }");
}

proptest! {
    #[test]
    fn pieces_rise_and_lie_within_the_text(text in "\\PC{0,60}|[a-zé\u{300}-\u{315}\u{302e} 中😀\0!]{0,160}|(?s:.{0,60})") {
        let vocabulary = WordPiece::new(VOCABULARY).unwrap();
        let length = u32::try_from(text.chars().count()).unwrap();
        let found = vocabulary.pieces(&text);
        prop_assert!(found.iter().all(|p| p.chars.start < p.chars.end && p.chars.end <= length));
        prop_assert!(found.iter().all(|p| (p.id as usize) < vocabulary.len()));
        prop_assert!(found.windows(2).all(|w| w[0].chars.start <= w[1].chars.start && w[0].chars.end <= w[1].chars.end));
        prop_assert!(found.first().is_none_or(|p| p.starts_word));
    }

    #[test]
    fn any_vocabulary_is_read_or_refused(lines in "\\PC{0,40}(\n(#|##)?.{0,3}){0,8}", text in ".{0,40}") {
        if let Ok(vocabulary) = WordPiece::new(&format!("[UNK]\n[CLS]\n[SEP]\n{lines}")) {
            vocabulary.pieces(&text);
        }
    }
}
