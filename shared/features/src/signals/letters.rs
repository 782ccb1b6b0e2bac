//! The letters of a reading, cut where words may begin and end.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use crate::text::Reading;

/// A letter or digit in lower case, without what only its form adds, and the raw characters that it stands for.
#[derive(Clone, Copy)]
pub(super) struct Letter {
    pub(super) c: char,
    pub(super) from: u32,
    pub(super) to: u32,
}

/// What stands between a piece and the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// Nothing in the raw text: the cut is ours, or a reading's.
    Touching,
    /// One to three signs without white space.
    Tight,
    /// White space, or more signs.
    Wide,
    /// So much that what follows says something else, or nothing before it.
    Far,
}

/// A run of letters, a run of digits, or one letter of a script that has no spaces.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) gap: Gap,
}

/// A reading as letters. No `Debug`: it must not end up in a log.
#[derive(Default)]
pub(super) struct Letters {
    pub(super) letters: Vec<Letter>,
    pub(super) pieces: Vec<Piece>,
}

/// Between letters that stand apart stand no more characters than this.
const WIDEST: usize = 12;
/// A sign or three between letters part no words.
const TIGHTEST: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Digit,
    /// Of a script that is written without spaces.
    Inside,
}

impl Letters {
    pub(super) fn of(reading: &Reading) -> Self {
        let mut out = Self::default();
        out.letters.reserve(reading.text().len());
        out.read(reading.placed());
        out.without_placeholders();
        out
    }

    /// The letters of a text that reads as itself, in the place of what was here.
    pub(super) fn refill(&mut self, text: &str) {
        self.letters.clear();
        self.pieces.clear();
        self.read(text.chars().zip(0..).map(|(c, at)| (c, (at, at + 1))));
    }

    fn read(&mut self, placed: impl Iterator<Item = (char, (u32, u32))>) {
        let out = self;
        let mut before: Option<Kind> = None;
        // What stands since the last letter: how much, and whether white space is among it.
        let (mut signs, mut white) = (0_usize, false);
        for (c, (from, to)) in placed {
            let mark = !c.is_ascii() && is_combining_mark(c);
            if !(c.is_alphanumeric() || mark && before.is_some() && signs == 0) {
                signs += 1;
                white |= c.is_whitespace();
                continue;
            }
            let kind = match c {
                _ if mark => before.unwrap_or(Kind::Letter),
                '0'..='9' => Kind::Digit,
                c if is_written_without_spaces(c) => Kind::Inside,
                _ => Kind::Letter,
            };
            let begins = signs > 0 || before != Some(kind) || kind == Kind::Inside && !mark;
            if begins {
                // A reading may run backwards.
                let beside = |last: &Letter| last.to == from || last.from == to || (last.from, last.to) == (from, to);
                let touches = signs == 0 || out.letters.last().is_some_and(beside);
                let gap = match signs {
                    _ if out.letters.is_empty() || signs > WIDEST => Gap::Far,
                    _ if touches => Gap::Touching,
                    _ if white || signs > TIGHTEST => Gap::Wide,
                    _ => Gap::Tight,
                };
                let start = out.letters.len();
                out.pieces.push(Piece { start, end: start, gap });
            }
            (before, signs, white) = (Some(kind), 0, false);
            push(&mut out.letters, c, (from, to));
            let end = out.letters.len();
            if let Some(piece) = out.pieces.last_mut() {
                piece.end = end;
            }
        }
    }

    /// What stands in the place of an address, a handle or a number is nobody's word.
    fn without_placeholders(&mut self) {
        let letters = &self.letters;
        let placeholder = |piece: &Piece| {
            let word = letters.get(piece.start..piece.end).unwrap_or_default();
            word.windows(2).all(|two| matches!(two, [a, b] if (a.from, a.to) == (b.from, b.to)))
                && ["user", "http", "number"].iter().any(|name| word.iter().map(|letter| letter.c).eq(name.chars()))
        };
        let mut far = false;
        self.pieces.retain_mut(|piece| {
            let keep = !placeholder(piece);
            if keep && std::mem::take(&mut far) {
                piece.gap = Gap::Far;
            }
            far |= !keep;
            keep
        });
    }
}

fn push(letters: &mut Vec<Letter>, c: char, (from, to): (u32, u32)) {
    if c.is_ascii() {
        letters.push(Letter { c: c.to_ascii_lowercase(), from, to });
    } else if matches!(c, '\u{ac00}'..='\u{d7a3}') {
        letters.push(Letter { c, from, to });
    } else {
        decompose_compatible(c, |part| {
            let small = part.to_lowercase().filter(|c| c.is_alphanumeric() || is_combining_mark(*c));
            letters.extend(small.map(|c| Letter { c, from, to }));
        });
    }
}

/// Letters of scripts whose words nothing parts, or, in Korean, whose words take endings: an entry is found inside.
fn is_written_without_spaces(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{fff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{318f}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{323af}')
}
