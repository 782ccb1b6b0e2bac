//! Segments of a reading: sentences, lines and what else stands by itself. A model that reads a text as a whole averages its worst
//! sentence away; so each is read by itself as well.

use std::ops::Range;

use super::tokens::{TokenKind, Tokenised};

/// Ranges of token indices, in order, that together cover all tokens but those that only separate. A segment ends at the end of a line, at a
/// full stop, a question or exclamation mark, a semicolon or an ellipsis before white space, at addresses and handles at its edges,
/// where `apart` says that a token is none of the writer's words, such as the name of an emoji, and before a token of which `begins` says
/// that it begins a sentence although nothing ends the one before.
pub fn segments(
    reading: &str,
    text: &Tokenised,
    apart: impl Fn(usize) -> bool,
    begins: impl Fn(usize) -> bool,
) -> Vec<Range<usize>> {
    let tokens = text.tokens();
    let mut out: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for (index, token) in tokens.iter().enumerate() {
        let gap = tokens.get(index + 1).map(|next| reading.get(token.bytes.end..next.bytes.start).unwrap_or_default());
        let stops = match token.kind {
            TokenKind::Symbol => {
                let sign = reading.get(token.bytes.clone()).unwrap_or_default();
                // A run of stops ends with its last; a dot inside a number or a name ends nothing.
                ends_sentence(sign) && gap.is_none_or(|gap| !gap.is_empty())
            }
            TokenKind::Word | TokenKind::Url | TokenKind::User | TokenKind::Number => false,
        };
        let line_ends =
            gap.is_some_and(|gap| gap.contains(['\n', '\r', '\u{2028}', '\u{2029}', '\u{b}', '\u{c}', '\u{85}']));
        let edge = |at: usize| tokens.get(at).is_some_and(|token| token.kind == TokenKind::Url) || apart(at);
        let changes = index + 1 < tokens.len() && edge(index) != edge(index + 1);
        let next_begins = index + 1 < tokens.len() && begins(index + 1);
        if stops || line_ends || changes || next_begins || index + 1 == tokens.len() {
            let segment = start..index + 1;
            start = index + 1;
            let says_something =
                |at: usize| tokens.get(at).is_some_and(|token| token.kind == TokenKind::Word) && !apart(at);
            if segment.clone().any(says_something) {
                out.push(segment);
            }
        }
    }
    out
}

/// A segment in pieces: what stands between its quotation marks and brackets, and what stands beside them. Empty where it has none. A mark
/// without its partner parts as well, so that none is left out to hide what another holds.
pub fn pieces(reading: &str, text: &Tokenised, segment: Range<usize>) -> Vec<Range<usize>> {
    let tokens = text.tokens();
    let parts = |at: usize| {
        let sign = tokens.get(at).filter(|token| token.kind == TokenKind::Symbol);
        let Some(sign) = sign.and_then(|token| reading.get(token.bytes.clone())) else { return false };
        // An apostrophe inside a word encloses nothing.
        let beside = |other: Option<usize>, touches: fn(&Range<usize>, &Range<usize>) -> bool| {
            let (own, other) = (tokens.get(at), other.and_then(|other| tokens.get(other)));
            own.zip(other)
                .is_some_and(|(own, other)| other.kind == TokenKind::Word && touches(&own.bytes, &other.bytes))
        };
        let inside = beside(at.checked_sub(1), |own, before| before.end == own.start)
            && beside(at.checked_add(1), |own, behind| own.end == behind.start);
        encloses(sign) && !(inside && sign.starts_with(['\'', '\u{2019}']))
    };
    let word = |at: usize| tokens.get(at).is_some_and(|token| token.kind == TokenKind::Word);
    let mut out = Vec::new();
    let mut start = segment.start;
    for at in segment.clone() {
        if parts(at) {
            out.push(start..at);
            start = at + 1;
        }
    }
    if start > segment.start {
        out.push(start..segment.end);
    }
    out.retain(|piece| piece.clone().any(word));
    out
}

/// Clauses that a segment speaks about: what stands behind each "that", up to the end and up to the next comma. Who says what "nobody
/// can deny that" says it.
pub fn clauses(reading: &str, text: &Tokenised, segment: Range<usize>) -> Vec<Range<usize>> {
    let tokens = text.tokens();
    let shown = |at: usize| tokens.get(at).and_then(|token| reading.get(token.bytes.clone())).unwrap_or_default();
    let words = |range: &Range<usize>| {
        range.clone().filter(|at| tokens.get(*at).is_some_and(|token| token.kind == TokenKind::Word)).count()
    };
    let behind =
        segment.clone().skip(1).filter(|at| shown(*at).eq_ignore_ascii_case("that")).map(|at| at + 1..segment.end);
    let short = |clause: &Range<usize>| {
        clause.clone().find(|at| shown(*at).starts_with([',', '\u{2014}'])).map(|comma| clause.start..comma)
    };
    behind
        .flat_map(|clause| short(&clause).into_iter().chain([clause]))
        .filter(|clause| words(clause) >= LEAST_WORDS)
        .collect()
}

/// Fewer words are no clause.
const LEAST_WORDS: usize = 3;

fn encloses(sign: &str) -> bool {
    let starts = |signs: &str| sign.starts_with(|c| signs.contains(c));
    starts(
        "\"'`()[]{}\u{ab}\u{bb}\u{2018}\u{2019}\u{201a}\u{201b}\u{201c}\u{201d}\u{201e}\u{201f}\u{2039}\u{203a}\u{300c}\u{300d}",
    )
}

fn ends_sentence(sign: &str) -> bool {
    matches!(
        sign,
        "." | "!" | "?" | ";" | "\u{2026}" | "\u{3002}" | "\u{ff01}" | "\u{ff1f}" | "\u{2022}" | "|" | "\u{203d}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::text::tokenise;

    fn cut(text: &str) -> Vec<&str> {
        let tokens = tokenise(text);
        let place = |range: Range<usize>| {
            let tokens = &tokens.tokens()[range];
            &text[tokens[0].bytes.start..tokens[tokens.len() - 1].bytes.end]
        };
        segments(text, &tokens, |_| false, |_| false).into_iter().map(place).collect()
    }

    #[test]
    fn sentences_lines_and_addresses_end_a_segment() {
        for (text, expected) in [
            ("", vec![]),
            ("one two", vec!["one two"]),
            ("One. Two! Three? four; five\nsix", vec!["One.", "Two!", "Three?", "four;", "five", "six"]),
            ("3.5 or a.b.c stay", vec!["3.5 or a.b.c stay"]),
            ("wait... what", vec!["wait...", "what"]),
            ("https://a.b www.c.d Kill them http://e.f", vec!["Kill them"]),
            ("... !!! ???", vec![]),
        ] {
            assert_eq!(cut(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_apart_is_no_segment_and_ends_one() {
        let text = "I like you grinning face and red heart";
        let tokens = tokenise(text);
        let found = segments(text, &tokens, |at| (3..5).contains(&at) || (6..8).contains(&at), |at| at == 2);
        assert_eq!(found, [0..2, 2..3, 5..6]);
    }

    #[test]
    fn quotation_marks_and_brackets_part_pieces() {
        let pieces_of = |text: &str| -> Vec<String> {
            let tokens = tokenise(text);
            let place = |range: Range<usize>| {
                let tokens = &tokens.tokens()[range];
                text[tokens[0].bytes.start..tokens[tokens.len() - 1].bytes.end].to_owned()
            };
            pieces(text, &tokens, 0..tokens.tokens().len()).into_iter().map(place).collect()
        };
        for (text, expected) in [
            ("no marks, don't you see the king\u{2019}s men", vec![]),
            ("the king's 'they are rats'", vec!["the king's", "they are rats"]),
            ("he said \"they are rats\" and left", vec!["he said", "they are rats", "and left"]),
            ("\u{201e}they are rats\u{201c}", vec!["they are rats"]),
            ("\"\"\"they are rats\" he said", vec!["they are rats", "he said"]),
            ("print('they are rats')", vec!["print", "they are rats"]),
            ("tea (they are rats", vec!["tea", "they are rats"]),
        ] {
            assert_eq!(pieces_of(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_word_is_left_out_and_none_stands_twice(text in "[a-c .!?\n@:/]{0,60}|\\PC{0,40}") {
            let tokens = tokenise(&text);
            let found = segments(&text, &tokens, |_| false, |at| at % 7 == 3);
            prop_assert!(found.windows(2).all(|two| two[0].end <= two[1].start));
            for (at, token) in tokens.tokens().iter().enumerate() {
                let inside = found.iter().filter(|segment| segment.contains(&at)).count();
                prop_assert!(inside == 1 || inside == 0 && token.kind != TokenKind::Word);
            }
        }
    }
}
