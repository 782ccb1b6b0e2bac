//! Signs that divide words, and words that nothing divides: `mu_slims`, `h.a.t.e`, `#KillTime`.

use super::{Mark, is_sign};

/// From so many words on, what begins each with a capital letter is read as words without a hashtag as well.
const HUMPS: usize = 3;

/// `#KillTime` is two words, `killAllTime` three. Cut only where both sides keep two letters, so that joining never undoes it.
pub(super) fn cut_humps(marks: &[Mark]) -> Vec<Mark> {
    let mut out = Vec::with_capacity(marks.len());
    let mut in_tag = false;
    for word in marks.chunk_by(|a, b| a.c.is_alphanumeric() == b.c.is_alphanumeric()) {
        if !word.first().is_some_and(|mark| mark.c.is_alphanumeric()) {
            in_tag = word.last().is_some_and(|mark| mark.c == '#');
            out.extend_from_slice(word);
            continue;
        }
        let at = |place: Option<usize>| place.and_then(|place| word.get(place)).map(|mark| mark.c);
        let begins = |place: usize| {
            let lower = |place: Option<usize>| at(place).is_some_and(char::is_lowercase);
            at(Some(place)).is_some_and(char::is_uppercase)
                && lower(place.checked_sub(1))
                && at(place.checked_sub(2)).is_some_and(char::is_alphabetic)
                && lower(place.checked_add(1))
        };
        let cuts: Vec<usize> = (0..word.len()).filter(|place| begins(*place)).collect();
        let mut rest = word;
        if in_tag || cuts.len() >= HUMPS - 1 {
            for place in cuts {
                let (before, after) = rest.split_at_checked(place + rest.len() - word.len()).unwrap_or((rest, &[]));
                out.extend_from_slice(before);
                out.extend(after.first().map(|mark| Mark { c: ' ', from: mark.from, to: mark.from }));
                rest = after;
            }
        }
        out.extend_from_slice(rest);
    }
    out
}

/// As many signs in a row divide a word, not more.
const MOST_SIGNS: usize = 3;

/// Signs between letters that only divide a word: `mu_slims`, `n.igger`, `mu"slims`, and a hyphen at the end of a line. Dots and hyphens
/// divide real words too, and go only beside a stump of one or two letters. A word like `member(s)` stays.
pub(super) fn without_dividers(marks: &[Mark]) -> Vec<Mark> {
    let mut out = Vec::with_capacity(marks.len());
    let mut rest = 0;
    while let Some(mark) = marks.get(rest) {
        let length = divider(marks, rest);
        if length == 0 {
            out.push(*mark);
        }
        rest += length.max(1);
    }
    out
}

/// How many characters from a place on only divide a word.
fn divider(marks: &[Mark], at: usize) -> usize {
    let Some(sign) = marks.get(at).map(|mark| mark.c) else { return 0 };
    let behind = |length: usize| marks.get(at + length..).unwrap_or_default();
    let before = marks.get(..at).unwrap_or_default();
    let is = |mark: Option<&Mark>, kind: fn(char) -> bool| mark.is_some_and(|mark| kind(mark.c));
    let between = |length: usize, kind| is(before.last(), kind) && is(behind(length).first(), kind);
    let run = |marks: &mut dyn Iterator<Item = &Mark>| marks.take(3).take_while(|m| m.c.is_alphanumeric()).count();
    let alike = |mark: &&Mark| mark.c == sign || quotes(mark.c) && quotes(sign);
    let signs = behind(0).iter().take(MOST_SIGNS + 1).take_while(alike).count();
    let divides = match sign {
        '_' | '|' | '~' | '^' | '\u{b7}' | '\u{2022}' | '\\' | '`' => between(signs, char::is_alphanumeric),
        sign if quotes(sign) || matches!(sign, '(' | ')' | '[' | ']' | '{' | '}') => {
            between(signs, char::is_alphabetic) && run(&mut behind(signs).iter()) > 1
        }
        '.' | '-' | '\u{2010}'..='\u{2015}' => {
            let breaks = line_break(behind(1));
            if sign != '.' && breaks > 0 && between(1 + breaks, char::is_alphabetic) {
                return 1 + breaks;
            }
            let stump = run(&mut before.iter().rev()) <= 2 || run(&mut behind(1).iter()) <= 2;
            signs == 1 && between(1, char::is_alphanumeric) && stump && !between(1, |c| c.is_ascii_digit())
        }
        _ => false,
    };
    if divides && signs <= MOST_SIGNS { signs } else { 0 }
}

fn quotes(sign: char) -> bool {
    matches!(sign, '"' | '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}')
}

/// How long the white space is with which a text begins, if it is one line break with blanks around it.
fn line_break(marks: &[Mark]) -> usize {
    const LONGEST: usize = 8;
    let blank = marks.iter().take(LONGEST).take_while(|mark| mark.c.is_whitespace());
    let (length, lines) = blank.fold((0, 0), |(length, lines), mark| (length + 1, lines + usize::from(mark.c == '\n')));
    if lines == 1 { length } else { 0 }
}

/// Joins three or more single letters that the same sign keeps apart, once each: `k i l l`, `h.a.t.e`.
pub(super) fn joined(marks: &[Mark]) -> Vec<Mark> {
    let single = |index: usize| {
        let solid = |m: Option<&Mark>| m.is_some_and(|m| m.c.is_alphanumeric() || is_sign(m.c));
        marks.get(index).is_some_and(|m| m.c.is_alphanumeric() || is_sign(m.c))
            && !solid(index.checked_sub(1).and_then(|i| marks.get(i)))
            && !solid(marks.get(index + 1))
    };
    let divider = |c: char| {
        matches!(
            c,
            ' ' | '.' | '-' | '_' | '*' | ',' | '/' | '|' | '~' | '\'' | '\u{b7}' | '\t' | '\u{a0}' | '\u{2022}'
        )
    };
    let mut out = Vec::with_capacity(marks.len());
    let mut index = 0;
    while index < marks.len() {
        let mut last = index;
        if single(index)
            && let Some(sign) = marks.get(index + 1).map(|m| m.c).filter(|c| divider(*c))
        {
            while marks.get(last + 1).is_some_and(|m| m.c == sign) && single(last + 2) {
                last += 2;
            }
        }
        let run: Vec<Mark> = marks.get(index..=last).unwrap_or_default().iter().step_by(2).copied().collect();
        if let Some(first) = first_joined(&run) {
            out.extend_from_slice(marks.get(index..index + first * 2).unwrap_or_default());
            out.extend_from_slice(run.get(first..).unwrap_or_default());
            index = last + 1;
        } else {
            // The last one may start another run.
            let next = last.max(index + 1);
            out.extend_from_slice(marks.get(index..next).unwrap_or_default());
            index = next;
        }
    }
    out
}

/// Where in a run the first of those that are joined is: the longest end of three or more of which half are letters, two at
/// least.
fn first_joined(run: &[Mark]) -> Option<usize> {
    let (mut letters, mut first) = (0, None);
    for (from_end, mark) in run.iter().rev().enumerate() {
        letters += usize::from(mark.c.is_alphabetic());
        if from_end >= 2 && letters >= 2 && letters * 2 > from_end {
            first = Some(run.len() - 1 - from_end);
        }
    }
    first
}
