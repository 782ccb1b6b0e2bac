//! Letters that stand apart: `k i l l  a l l`, one letter a line, `k:i:l:l`, letters with emoji between them.

use super::emoji::emoji;
use super::words::{Cut, cut};
use super::{Mark, is_sign, letter_for};

/// More characters than this between two letters do not keep them apart, they part texts.
const WIDEST_GAP: usize = 12;

/// Letters from which on a stretch between gaps may be several words.
const LONG: usize = 10;

/// A letter by itself, and where what follows it up to the next one lies.
struct Apart {
    at: usize,
    gap: std::ops::Range<usize>,
}

/// Emoji between letters that stand apart only part them; they are read as a dot.
pub(super) fn without_emoji_between(marks: &[Mark]) -> Vec<Mark> {
    if marks.iter().all(|mark| mark.c < '\u{a9}') {
        return marks.to_vec();
    }
    // The text with a dot for each emoji, and where in it the dots are, with the emoji that each stands for.
    let mut dotted: Vec<Mark> = Vec::with_capacity(marks.len());
    let mut dots = Vec::new();
    let mut at = 0;
    while let Some(mark) = marks.get(at) {
        let rest = marks.get(at..).unwrap_or_default();
        if let Some((length, _)) = emoji(rest) {
            dots.push((dotted.len(), at..at + length));
            dotted.push(Mark::over('\u{b7}', rest.get(..length).unwrap_or(rest)));
            at += length;
        } else {
            dotted.push(*mark);
            at += 1;
        }
    }
    if dots.is_empty() {
        return marks.to_vec();
    }
    let mut parting = vec![false; dotted.len()];
    for run in runs(&dotted, false).into_iter().filter(|run| run.len() > 2) {
        for gap in run.iter().take(run.len() - 1).flat_map(|apart| apart.gap.clone()) {
            if let Some(parting) = parting.get_mut(gap) {
                *parting = true;
            }
        }
    }
    // Emoji inside a word only divide it, if they are no letters themselves.
    let letter =
        |place: Option<usize>| place.and_then(|place| dotted.get(place)).is_some_and(|mark| mark.c.is_alphabetic());
    for row in dots.chunk_by(|a, b| a.0 + 1 == b.0) {
        let (Some(first), Some(last)) = (row.first(), row.last()) else { continue };
        let letters = row.iter().any(|(_, whole)| marks.get(whole.start).is_some_and(|mark| mark.c.is_alphabetic()));
        if !letters && letter(first.0.checked_sub(1)) && letter(last.0.checked_add(1)) {
            for parting in parting.get_mut(first.0..=last.0).unwrap_or_default() {
                *parting = true;
            }
        }
    }
    let mut out = Vec::with_capacity(marks.len());
    let mut dots = dots.into_iter().peekable();
    for (place, (mark, parting)) in dotted.iter().zip(parting).enumerate() {
        match dots.next_if(|(dot, _)| *dot == place) {
            Some((_, whole)) if !parting => out.extend_from_slice(marks.get(whole).unwrap_or_default()),
            _ => out.push(*mark),
        }
    }
    out
}

/// Joins letters that stand apart, where they are words then. What parts them may be anything but letters and digits;
/// a wider gap, or one of another kind, ends a word. Where none does, or where that makes no words, the list of words
/// says where words end.
pub(super) fn unparted(marks: &[Mark]) -> Vec<Mark> {
    let mut whole = marks.to_vec();
    // Signs are what parts letters, or stand for some: `k*i*l*l`, `k ! l l`.
    for signs in [false, true] {
        let found = runs(&whole, signs);
        if !found.iter().any(|run| run.len() > 2) {
            continue;
        }
        let mut out = Vec::with_capacity(whole.len());
        let mut done = 0;
        for run in found {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let Some(joined) = read_run(&whole, &run) else { continue };
            out.extend_from_slice(whole.get(done..first.at).unwrap_or_default());
            out.extend(joined);
            done = last.at + 1;
        }
        out.extend_from_slice(whole.get(done..).unwrap_or_default());
        whole = out;
    }
    whole
}

/// Runs of letters that stand apart, and what parts them.
fn runs(marks: &[Mark], signs: bool) -> Vec<Vec<Apart>> {
    let at = |index: Option<usize>| index.and_then(|index| marks.get(index)).map(|mark| mark.c);
    let solid = |c: char| c.is_alphanumeric() || (signs && is_sign(c));
    let mut out = Vec::new();
    let mut run: Vec<Apart> = Vec::new();
    // Where the stretch without letters that ends here started.
    let mut gap = 0;
    for (index, mark) in marks.iter().enumerate() {
        if !solid(mark.c) {
            continue;
        }
        let (before, after) = (at(index.checked_sub(1)), at(Some(index + 1)));
        let alone = !before.is_some_and(solid) && !after.is_some_and(solid);
        // A sign is a letter only where white space is on both sides, or the start or end.
        let letter = mark.c.is_alphanumeric()
            || (before.is_none_or(char::is_whitespace) && after.is_none_or(char::is_whitespace));
        if index - gap > WIDEST_GAP || !alone || !letter {
            out.extend((run.len() > 2).then(|| std::mem::take(&mut run)));
            run.clear();
        }
        if alone && letter {
            if let Some(last) = run.last_mut() {
                last.gap = gap..index;
            }
            run.push(Apart { at: index, gap: index + 1..index + 1 });
        }
        gap = index + 1;
    }
    out.extend((run.len() > 2).then_some(run));
    out
}

/// The letters of a run as words, where they are some.
fn read_run(marks: &[Mark], run: &[Apart]) -> Option<Vec<Mark>> {
    let letter = |apart: &Apart| marks.get(apart.at).copied();
    let small: Vec<u8> = run
        .iter()
        .filter_map(letter)
        .map(|mark| u8::try_from(letter_for(mark.c).unwrap_or(mark.c).to_ascii_lowercase()).unwrap_or(b'?'))
        .collect();
    let letters = run.iter().filter_map(letter).filter(|mark| mark.c.is_alphabetic()).count();
    if letters * 2 < run.len() {
        return None;
    }
    let gap = |apart: &Apart| marks.get(apart.gap.clone()).unwrap_or_default();
    let inner = || run.iter().take(run.len() - 1);
    let narrowest = inner().map(|apart| apart.gap.len()).min()?;
    let blank = |apart: &Apart| gap(apart).iter().any(|mark| mark.c.is_whitespace());
    let first = run.first()?;
    let other = |apart: &Apart| !gap(apart).iter().map(|mark| mark.c).eq(gap(first).iter().map(|mark| mark.c));
    // Ways to tell the gaps between words from those within.
    let ways: [&dyn Fn(&Apart) -> bool; 3] = [&|apart| apart.gap.len() > narrowest, &blank, &other];
    let glued = cut(&small);
    let mut best: Option<(Cut, Vec<bool>)> = None;
    for way in ways {
        let ends: Vec<bool> = inner().map(way).collect();
        let words = ends.iter().filter(|end| **end).count();
        if words == 0 || words == ends.len() {
            continue;
        }
        let mut whole = Cut::default();
        let mut start = 0;
        let mut ends = ends;
        for end in ends.clone().iter().enumerate().filter(|(_, end)| **end).map(|(at, _)| at + 1).chain([small.len()]) {
            let stretch = cut(small.get(start..end).unwrap_or_default());
            // A wide gap may part sentences only.
            if end - start >= LONG && stretch.is_words() {
                for word in stretch.words.iter().skip(1) {
                    if let Some(ended) = ends.get_mut(start + word.start - 1) {
                        *ended = true;
                    }
                }
            }
            whole.append(stretch);
            start = end;
        }
        if best.as_ref().is_none_or(|(cheapest, _)| whole.cost < cheapest.cost) {
            best = Some((whole, ends));
        }
    }
    // A name is dear in any way; a gap in the middle of words costs more than that.
    let (cut, ends) = match best {
        Some((cut, ends)) if cut.cost <= glued.cost * 1.4 + 4.0 => (cut, Some(ends)),
        _ => (glued, None),
    };
    if cut.known * 3 < small.len() * 2 || !(cut.is_words() || ends.is_some()) {
        return None;
    }
    let mut out = Vec::with_capacity(run.len() * 2);
    let starts: std::collections::BTreeSet<usize> = cut.words.iter().map(|word| word.start).collect();
    for (place, apart) in run.iter().enumerate() {
        out.extend(letter(apart));
        let last = place + 1 == run.len();
        let ended = match &ends {
            Some(ends) => ends.get(place).copied().unwrap_or_default(),
            None => starts.contains(&(place + 1)),
        };
        if last || !ended {
            continue;
        }
        let between = gap(apart);
        if ends.is_some() && between.len() > narrowest && between.iter().any(|mark| mark.c.is_whitespace()) {
            out.extend_from_slice(between);
        } else {
            out.push(Mark::over(' ', between));
        }
    }
    Some(out)
}
