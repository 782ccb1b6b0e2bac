//! Readings of a text: what its characters say, once tricks of spelling are undone, with the way back to the raw text.
//!
//! The [`plain`] reading of a text keeps its words and names what a model cannot see: emoji by their Unicode names, without
//! what they say of the person in the picture, web addresses and handles by a placeholder; characters without width or ink
//! are dropped. The others undo evasions as well. The [`folded`] one: look-alike letters, digits and symbols in the place of
//! letters, letters that stand apart, letters repeated. The [`rendered`] one: markup, read as it is shown. The [`addressed`]
//! one: words in addresses, handles and hashtags. All that a text has are scored and the highest counts, so that none can
//! hide anything.

mod addresses;
mod apart;
mod dividers;
mod emoji;
mod letters;
mod markup;
mod signs;
mod words;

use std::ops::Range;

use addresses::words_of_addresses;
use apart::{unparted, without_emoji_between};
use dividers::{cut_humps, joined, without_dividers};
use emoji::{emoji, is_hair, is_tone, name_emoji};
use letters::{ascii_letters, unboxed, upright};
use markup::render;
use signs::{is_sign, letter_for, letters_for_signs};

/// A character of a reading, and the raw characters it stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    c: char,
    from: u32,
    to: u32,
}

impl Mark {
    /// A character in the place of a stretch, which may run backwards. An empty stretch is at the start.
    fn over(c: char, stretch: &[Mark]) -> Self {
        Self {
            c,
            from: stretch.iter().map(|mark| mark.from).min().unwrap_or_default(),
            to: stretch.iter().map(|mark| mark.to).max().unwrap_or_default(),
        }
    }
}

/// A reading of a text. No `Debug`: it must not end up in a log.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Reading {
    text: String,
    places: Vec<(u32, u32)>,
}

impl Reading {
    /// What is read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The stretch of the raw text that a stretch of this reading stands for, both in Unicode scalar values. An empty
    /// stretch, or one beyond the end, gives an empty one.
    pub fn raw(&self, chars: Range<usize>) -> Range<usize> {
        let places = self.places.get(chars.start..chars.end.min(self.places.len())).unwrap_or_default();
        let from = places.iter().map(|place| place.0).min().unwrap_or_default();
        let to = places.iter().map(|place| place.1).max().unwrap_or_default();
        from as usize..to as usize
    }

    /// Its characters, each with the raw ones that it stands for: the first, and one past the last.
    pub(crate) fn placed(&self) -> impl Iterator<Item = (char, (u32, u32))> {
        self.text.chars().zip(self.places.iter().copied())
    }

    fn of(marks: &[Mark]) -> Self {
        Self {
            text: marks.iter().map(|mark| mark.c).collect(),
            places: marks.iter().map(|mark| (mark.from, mark.to)).collect(),
        }
    }
}

/// The plain reading: emoji named, addresses read as `http`, handles as `@user`, numbers that a corpus removed as
/// `number`, characters without width dropped. Reading a plain reading plainly gives the same text.
pub fn plain(text: &str) -> Reading {
    Reading::of(&read(&marks(text)))
}

/// The folded reading, where it differs from the plain one. Folding a folded reading gives the same text.
pub fn folded(text: &str) -> Option<Reading> {
    let marks = marks(text);
    other(&read(&marks), &fold_shown(marks))
}

/// The text as it is shown where its markup is understood, folded; `None` where it has none. Rendering a rendered reading
/// gives the same text.
pub fn rendered(text: &str) -> Option<Reading> {
    settle(&marks(text), |marks| without_markup(marks, false))
}

/// The text with addresses, handles and hashtags replaced by their words, rendered and folded; `None` where they have no
/// word. Reading an addressed reading so gives the same text.
pub fn addressed(text: &str) -> Option<Reading> {
    settle(&marks(text), |marks| match without_markup(marks, true) {
        Some(shown) => words_of_addresses(&shown),
        None => words_of_addresses(marks),
    })
}

/// The text as it stands.
pub(crate) fn as_written(text: &str) -> Reading {
    Reading::of(&marks(text))
}

/// Whether a word in small letters is among the more frequent of English.
pub(crate) fn is_english(word: &[u8]) -> bool {
    words::known(word)
}

/// Every reading of a text: the plain one, then each other that differs from those before, four at most.
pub fn readings(text: &str) -> Vec<Reading> {
    let mut all = vec![plain(text)];
    for reading in [folded(text), rendered(text), addressed(text)].into_iter().flatten() {
        if !all.iter().any(|known| known.text == reading.text) {
            all.push(reading);
        }
    }
    all
}

/// Reads with a step more, again while it finds something; `None` where it finds nothing at first.
fn settle(marks: &[Mark], step: impl Fn(&[Mark]) -> Option<Vec<Mark>>) -> Option<Reading> {
    let mut settled = fold_shown(step(marks)?);
    for _ in 1..MOST_ROUNDS {
        let Some(next) = step(&settled) else { break };
        settled = fold_shown(next);
    }
    Some(Reading::of(&settled))
}

/// The text without markup, where it has some. What is shown may be markup again.
fn without_markup(marks: &[Mark], links: bool) -> Option<Vec<Mark>> {
    let mut shown = render(marks, links);
    if same(&shown, marks) {
        return None;
    }
    for _ in 1..MOST_ROUNDS {
        let next = render(&shown, links);
        if same(&next, &shown) {
            break;
        }
        shown = next;
    }
    Some(shown)
}

fn other(plain: &[Mark], marks: &[Mark]) -> Option<Reading> {
    (!same(plain, marks)).then(|| Reading::of(marks))
}

/// Reads and folds what is shown, before emoji are named: some letters are emoji too, and some emoji only part letters.
fn fold_shown(marks: Vec<Mark>) -> Vec<Mark> {
    let marks = unreversed(marks);
    if marks.iter().all(|mark| mark.c.is_ascii()) {
        return fold(read(&marks));
    }
    fold(read(&upright(unboxed(&without_emoji_between(&marks)))))
}

fn marks(text: &str) -> Vec<Mark> {
    text.chars().zip(0..).map(|(c, at)| Mark { c, from: at, to: at + 1 }).collect()
}

fn same(a: &[Mark], b: &[Mark]) -> bool {
    a.iter().map(|mark| mark.c).eq(b.iter().map(|mark| mark.c))
}

/// Folding some tricks lays others bare, so the steps repeat until nothing moves; every step but the first takes
/// characters away or makes letters of others, so this ends. The bound only guards against a mistake in that argument.
const MOST_ROUNDS: usize = 16;

fn fold(mut marks: Vec<Mark>) -> Vec<Mark> {
    for _ in 0..MOST_ROUNDS {
        let next = without_repeats(&letters_for_signs(&joined(&without_dividers(&unparted(&cut_humps(
            &ascii_letters(&marks),
        ))))));
        // What was folded may read as an address, a handle or an emoji's name now.
        let next = read(&next);
        if same(&next, &marks) {
            break;
        }
        marks = next;
    }
    marks
}

/// Without width or ink, or a sign of direction: nobody sees them. What Unicode calls ignorable by default, and what it draws
/// nothing for.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !c.is_whitespace())
}

/// As wide as a space, without being one.
fn blank(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

const PLACEHOLDERS: [(&str, &str); 6] = [
    ("<user>", "@user"),
    ("[user]", "@user"),
    ("<url>", "http"),
    ("[url]", "http"),
    ("<number>", "number"),
    ("[number]", "number"),
];

/// Reads until nothing moves: what is invisible may stand inside an address or a handle.
fn read(marks: &[Mark]) -> Vec<Mark> {
    if reads_as_it_stands(marks) {
        return marks.to_vec();
    }
    let mut marks = read_once(marks);
    for _ in 0..MOST_ROUNDS {
        let next = read_once(&marks);
        if same(&next, &marks) {
            break;
        }
        marks = next;
    }
    marks
}

/// Whether a text surely has nothing to read otherwise, as most have.
fn reads_as_it_stands(marks: &[Mark]) -> bool {
    let other = |c: char| !c.is_ascii() || matches!(c, '@' | '<' | '[') || (c.is_ascii_control() && !c.is_whitespace());
    !marks.iter().any(|mark| other(mark.c))
        && !marks.windows(3).any(|three| {
            let three = [three.first(), three.get(1), three.get(2)].map(|mark| mark.map_or(' ', |mark| mark.c));
            three == [':', '/', '/'] || three.map(|c| c.to_ascii_lowercase()) == ['w', 'w', 'w']
        })
}

/// Names emoji, replaces addresses, handles and placeholders, drops what is invisible.
fn read_once(marks: &[Mark]) -> Vec<Mark> {
    let mut out: Vec<Mark> = Vec::with_capacity(marks.len());
    let mut rest = marks;
    // Where what was read since something invisible starts.
    let mut seam = 0;
    while let Some(first) = rest.first() {
        let after_word = out.last().is_some_and(|mark| mark.c.is_alphanumeric());
        let (length, said) = if let Some((length, name)) = emoji(rest) {
            name_emoji(&mut out, rest.get(..length).unwrap_or_default(), &name);
            rest = rest.get(length..).unwrap_or_default();
            continue;
        } else if invisible(first.c) {
            let length = rest.iter().take_while(|mark| invisible(mark.c)).count();
            let (unseen, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            let before = out.get(seam..).unwrap_or_default();
            let parts = unseen.iter().any(|mark| blank(mark.c)) && between_words(before, after);
            seam = out.len();
            (length, Some(if parts { " " } else { "" }))
        } else if is_tone(first.c) || is_hair(first.c) {
            (1, Some(""))
        } else {
            placeholder(rest, after_word)
        };
        let taken = rest.get(..length).unwrap_or(rest);
        match said {
            Some(said) => push(&mut out, taken, said),
            None => out.extend_from_slice(taken),
        }
        rest = rest.get(taken.len().max(1)..).unwrap_or_default();
    }
    out
}

/// Whether a whole word ends before a place and another starts there.
fn between_words(before: &[Mark], after: &[Mark]) -> bool {
    const LONGEST: usize = 24;
    let word = |marks: &mut dyn Iterator<Item = &Mark>| -> Vec<u8> {
        let letters = marks.take(LONGEST).take_while(|mark| mark.c.is_ascii_alphabetic());
        letters.filter_map(|mark| u8::try_from(mark.c.to_ascii_lowercase()).ok()).collect()
    };
    let mut first = word(&mut before.iter().rev());
    first.reverse();
    let whole = |word: &[u8]| word.len() > 1 && words::known(word);
    whole(&first) && whole(&word(&mut after.iter()))
}

/// Pushes `said` in the place of `taken`.
fn push(out: &mut Vec<Mark>, taken: &[Mark], said: &str) {
    let place = Mark::over(' ', taken);
    out.extend(said.chars().map(|c| Mark { c, ..place }));
}

/// How many characters belong together, and what is read in their place, if not themselves.
fn placeholder(rest: &[Mark], after_word: bool) -> (usize, Option<&'static str>) {
    let Some(first) = rest.first().map(|mark| mark.c) else { return (1, None) };
    let starts = |name: &str| {
        rest.len() >= name.len() && name.chars().zip(rest).all(|(wanted, mark)| mark.c.to_ascii_lowercase() == wanted)
    };
    if first == '<' || first == '[' {
        let found = PLACEHOLDERS.iter().find(|(name, _)| starts(name));
        return found.map_or((1, None), |(name, said)| (name.len(), Some(said)));
    }
    if after_word {
        return (1, None);
    }
    if first == '@' {
        let name = rest.iter().skip(1).take_while(|mark| mark.c.is_ascii_alphanumeric() || mark.c == '_').count();
        // A shorter one is no handle but a letter in disguise: "@ll of them".
        return if name >= 3 { (name + 1, Some("@user")) } else { (1, None) };
    }
    if ["http://", "https://", "www."].iter().any(|scheme| starts(scheme)) {
        let length =
            rest.iter().take_while(|mark| !mark.c.is_whitespace() && !matches!(mark.c, '<' | '>' | '"')).count();
        return (length, Some("http"));
    }
    (1, None)
}

/// A text between an override to the left and its end is shown from right to left: read as it is shown.
fn unreversed(mut marks: Vec<Mark>) -> Vec<Mark> {
    let mut start = 0;
    while let Some(at) = marks.iter().skip(start).position(|mark| mark.c == '\u{202e}').map(|at| at + start) {
        let length = marks
            .iter()
            .skip(at + 1)
            .position(|mark| matches!(mark.c, '\u{202c}' | '\u{202d}' | '\u{202e}' | '\n'))
            .unwrap_or(marks.len() - at - 1);
        if let Some(stretch) = marks.get_mut(at + 1..at + 1 + length) {
            stretch.reverse();
        }
        start = at + 1 + length;
    }
    marks
}

/// Three or more of the same letter become two, of the same vowel one.
fn without_repeats(marks: &[Mark]) -> Vec<Mark> {
    let mut out: Vec<Mark> = Vec::with_capacity(marks.len());
    for run in marks.chunk_by(|a, b| a.c.is_alphabetic() && a.c.to_lowercase().eq(b.c.to_lowercase())) {
        let letter = run.first().map_or(' ', |m| m.c.to_ascii_lowercase());
        let kept = match run.len() {
            0..=2 => run.len(),
            _ if "aeiou".contains(letter) => 1,
            _ => 2,
        };
        let (alone, shared) = run.split_at(kept - 1);
        out.extend_from_slice(alone);
        // The last one kept stands for all that follow.
        out.extend(shared.first().map(|mark| Mark::over(mark.c, shared)));
    }
    out
}

#[cfg(test)]
mod tests;
