//! English words by frequency, and letters without spaces cut into them.

use std::ops::Range;
use std::sync::LazyLock;

/// One word a line, the most frequent first: the whole words of the pieces that the bundled transformer knows (they are
/// sorted by frequency), without rare ones of two or three letters, and abuse that its corpus has little of.
const LIST: &str = include_str!("words.txt");

/// More letters than this are cut in stretches of this length: nobody reads a longer word.
const LONGEST_RUN: usize = 256;
/// What it costs to leave letters in no word, and each of them.
const UNKNOWN: (f32, f32) = (8.0, 4.0);
/// What a plural costs more than its word.
const PLURAL: f32 = 2.0;
/// The most that words may cost a letter. Letters at random cost four or more.
const DEAREST: f32 = 3.0;

/// Words in alphabetic order, each with the cost of using it: the logarithm of its rarity, after Zipf.
static WORDS: LazyLock<Vec<(&'static [u8], f32)>> = LazyLock::new(|| {
    let count = LIST.lines().count() as f32;
    let cost = |rank: usize| ((rank as f32 + 1.0) * count.ln()).ln();
    let letters = [("a", cost(20)), ("i", cost(60))];
    let ranked = LIST.lines().enumerate().map(|(rank, word)| (word, cost(rank)));
    let mut words: Vec<_> = letters.into_iter().chain(ranked).map(|(word, cost)| (word.as_bytes(), cost)).collect();
    words.sort_unstable_by_key(|(word, _)| *word);
    words
});

/// Letters cut into words.
#[derive(Default)]
pub(super) struct Cut {
    /// The words and the stretches in none, in order; together they are all letters.
    pub words: Vec<Range<usize>>,
    /// How dear the words are together.
    pub cost: f32,
    /// How many letters are in words of three letters or more.
    pub known: usize,
    letters: usize,
}

impl Cut {
    /// Whether the letters are words rather than letters at random.
    pub fn is_words(&self) -> bool {
        self.known * 4 >= self.letters * 3 && self.known > 0 && (self.words.len() == 1 || self.is_cheap())
    }

    /// Whether the letters are words, some of which the list lacks.
    pub fn is_mostly_words(&self) -> bool {
        self.known * 2 >= self.letters && self.is_cheap()
    }

    fn is_cheap(&self) -> bool {
        self.cost <= DEAREST * self.letters as f32
    }

    /// Adds what follows.
    pub fn append(&mut self, next: Self) {
        let shift = self.letters;
        self.words.extend(next.words.into_iter().map(|word| word.start + shift..word.end + shift));
        self.cost += next.cost;
        self.known += next.known;
        self.letters += next.letters;
    }
}

/// Whether a word in small letters is in the list.
pub(super) fn known(word: &[u8]) -> bool {
    let found = |word: &[u8]| WORDS.binary_search_by_key(&word, |(known, _)| known).is_ok();
    found(word) || word.strip_suffix(b"s").is_some_and(|stem| stem.len() > 3 && found(stem))
}

/// The likeliest word, or plural of one, of which a star stands for each letter that is not known. It begins with a letter.
pub(super) fn likeliest(pattern: &[u8]) -> Option<Vec<u8>> {
    let start = pattern.split(|sign| *sign == b'*').next().filter(|start| !start.is_empty())?;
    let from = WORDS.partition_point(|(word, _)| *word < start);
    let candidates = WORDS.get(from..).unwrap_or_default().iter().take_while(|(word, _)| word.starts_with(start));
    let fits = |word: &[u8], length: usize| {
        word.len() == length && word.iter().zip(pattern).all(|(letter, shown)| *shown == b'*' || shown == letter)
    };
    let plural = pattern.last().is_some_and(|last| matches!(last, b's' | b'*'));
    let priced = candidates.filter_map(|(word, cost)| {
        if fits(word, pattern.len()) {
            Some((*cost, word.to_vec()))
        } else if plural && word.len() > 3 && fits(word, pattern.len() - 1) {
            Some((cost + PLURAL, [*word, b"s"].concat()))
        } else {
            None
        }
    });
    priced.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, word)| word)
}

/// Cuts small letters into the likeliest words.
pub(super) fn cut(letters: &[u8]) -> Cut {
    let mut whole = Cut::default();
    for run in letters.chunks(LONGEST_RUN) {
        whole.append(cut_run(run));
    }
    whole
}

/// What is cheapest up to a place: its cost, where its last word starts, and whether that is in the list.
#[derive(Clone, Copy)]
struct Step {
    cost: f32,
    start: usize,
    known: bool,
}

fn cut_run(letters: &[u8]) -> Cut {
    let never = Step { cost: f32::INFINITY, start: 0, known: false };
    let mut best = vec![never; letters.len() + 1];
    if let Some(first) = best.first_mut() {
        first.cost = 0.0;
    }
    // The cheapest way here that ends within a stretch that is in no word.
    let mut unknown = never;
    for start in 0..letters.len() {
        let here = best.get(start).map_or(f32::INFINITY, |step| step.cost);
        let mut reach = |end: usize, step: Step| {
            if let Some(known) = best.get_mut(end).filter(|known| step.cost < known.cost) {
                *known = step;
            }
        };
        if here + UNKNOWN.0 < unknown.cost {
            unknown = Step { cost: here + UNKNOWN.0, start, known: false };
        }
        unknown.cost += UNKNOWN.1;
        reach(start + 1, unknown);
        for_words(letters.get(start..).unwrap_or_default(), |length, cost| {
            reach(start + length, Step { cost: here + cost, start, known: true });
        });
    }
    let mut out = Cut { letters: letters.len(), ..Cut::default() };
    let mut end = letters.len();
    out.cost = best.last().map_or(0.0, |step| step.cost);
    while let Some(step) = best.get(end).filter(|_| end > 0) {
        if step.known && end - step.start > 2 {
            out.known += end - step.start;
        }
        out.words.push(step.start..end);
        end = step.start;
    }
    out.words.reverse();
    out
}

/// Gives the length and cost of each word that the letters start with.
fn for_words(letters: &[u8], mut found: impl FnMut(usize, f32)) {
    let mut left: &[(&[u8], f32)] = &WORDS;
    for (place, letter) in letters.iter().enumerate() {
        // Of those that agree so far, the ones with this letter here. Shorter ones sort first.
        let at = |word: &[u8]| word.get(place).copied();
        let from = left.partition_point(|(word, _)| at(word) < Some(*letter));
        let to = left.partition_point(|(word, _)| at(word) <= Some(*letter));
        left = left.get(from..to).unwrap_or_default();
        let Some((word, cost)) = left.first() else { return };
        if word.len() == place + 1 {
            found(place + 1, *cost);
            if place > 2 && letters.get(place + 1) == Some(&b's') {
                found(place + 2, cost + PLURAL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;

    fn spaced(text: &str) -> String {
        cut(text.as_bytes()).words.into_iter().map(|word| &text[word]).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn letters_are_cut_into_the_likeliest_words() {
        for text in [
            "kill all muslims",
            "gas the jews",
            "deport them all",
            "all women are trash",
            "i hate gays",
            "burn the mosques down",
            "good morning everyone",
            "immigrants are parasites",
            "they should be wiped out",
        ] {
            assert_eq!(spaced(&text.replace(' ', "")), text);
            assert!(cut(text.replace(' ', "").as_bytes()).is_words(), "{text}");
        }
    }

    #[test]
    fn letters_at_random_are_no_words() {
        // Knuth's constants for a linear congruential generator; its upper bits are random enough for this.
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let letter = |number: u64| b'a' + u8::try_from(number).unwrap();
        let mut texts = (0..2000).map(|_| (0..6 + random(8)).map(|_| letter(random(26))).collect::<Vec<u8>>());
        let taken = texts.by_ref().filter(|text| cut(text).is_words()).count();
        assert!(taken < 20, "{taken} of 2000");
    }

    #[test]
    fn the_list_is_of_small_letters_without_repetition() {
        assert!(LIST.lines().all(|word| word.len() > 1 && word.bytes().all(|letter| letter.is_ascii_lowercase())));
        assert!(WORDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
