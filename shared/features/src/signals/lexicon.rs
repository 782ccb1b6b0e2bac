//! Words and phrases as a table of hashes: found in a time that does not depend on how many there are.
//!
//! An automaton over characters (Aho-Corasick) of 100,000 entries takes longer to build than a function may take to start, and has to be
//! told about word boundaries afterwards. Here an entry is its letters without what parts them, and a text is asked at each place where a
//! word may begin. Only what the hash finds is compared, letter by letter.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use super::letters::{Gap, Letter, Letters, Piece};

/// A hash that is one already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Table<T> = HashMap<u64, T, BuildHasherDefault<Same>>;

/// The letters of an entry of more than this are not taken: nobody lists a longer phrase.
pub(super) const LONGEST: usize = 200;
/// A word has no more letters than this, so that a text of letters apart costs no more.
pub(super) const LONGEST_WORD: usize = 40;
/// Shorter entries are found as whole words alone: two letters stand beside each other too often.
const LEAST_APART: usize = 3;
/// Letters of a shorter word are not looked at in another order.
const LEAST_SWAPPED: usize = 4;
/// No entry.
const NONE: u32 = u32::MAX;

/// One way to write an entry.
struct Form {
    entry: u32,
    /// Its letters in the store.
    start: u32,
    letters: u16,
    inflects: bool,
    allows: bool,
    /// The next form with the same hash.
    next: u32,
}

/// What a lexicon is told about an entry.
#[derive(Clone, Copy)]
pub(super) struct Told {
    pub(super) entry: u32,
    pub(super) inflects: bool,
    /// It excuses what stands inside it, rather than being found.
    pub(super) allows: bool,
}

/// Whether a word begins with a letter of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Begins {
    No,
    /// A sign stands before it, which may be left out: `don't`.
    Maybe,
    Yes,
}

/// Words and phrases. No `Debug`: what stands in it is nobody's business but its owner's.
#[derive(Default)]
pub(super) struct Lexicon {
    forms: Vec<Form>,
    /// Letters of all forms.
    store: Vec<(char, Begins)>,
    table: Table<u32>,
    /// Where a phrase goes on: hashes of its first words.
    openers: Table<()>,
    longest: usize,
}

/// What was found: which form, where in the raw text.
pub(super) struct Hit {
    pub(super) entry: u32,
    pub(super) allows: bool,
    pub(super) raw: Range<usize>,
}

/// A hash of letters in a row; the same letter again changes nothing, and `i` is `l`: signs stand for both.
#[derive(Clone, Copy)]
struct Running {
    hash: u64,
    last: char,
}

impl Running {
    const START: Self = Self { hash: 0xcbf2_9ce4_8422_2325, last: '\0' };

    fn then(self, c: char) -> Self {
        let c = if c == 'l' { 'i' } else { c };
        if c == self.last {
            return self;
        }
        // A multiplier of Steele and Vigna's, odd and well mixed.
        let mixed = (self.hash ^ u64::from(u32::from(c))).wrapping_mul(0xd134_2543_de82_ef95);
        Self { hash: mixed ^ (mixed >> 29), last: c }
    }
}

/// Endings of English plurals and verbs, what they take away of the word, and whether they double its last letter: `hop`, `hopped`. Not
/// `-er` and `-in`: they make names, Spicer, Fagin, as often.
const ENDINGS: [(&str, &str, bool); 9] = [
    ("s", "", false),
    ("es", "", false),
    ("ies", "y", false),
    ("ed", "", true),
    ("d", "", false),
    ("ied", "y", false),
    ("ing", "", true),
    ("ing", "e", false),
    ("ings", "", true),
];

impl Lexicon {
    /// How many forms there are.
    pub(super) fn len(&self) -> usize {
        self.forms.len()
    }

    /// Adds a form of an entry, as letters and where its words begin. Gives the entry that has the same form already, if one has.
    pub(super) fn add(&mut self, words: &Letters, told: Told) -> Option<u32> {
        let letters = || words.pieces.iter().flat_map(|piece| words.letters.get(piece.start..piece.end)).flatten();
        let begins = |place: usize| match words.pieces.binary_search_by_key(&place, |piece| piece.start) {
            Ok(at) => words.pieces.get(at).map_or(Begins::No, |piece| match piece.gap {
                Gap::Wide => Begins::Yes,
                Gap::Tight => Begins::Maybe,
                Gap::Touching | Gap::Far => Begins::No,
            }),
            Err(_) => Begins::No,
        };
        let start = self.store.len();
        let mut running = Running::START;
        for (place, letter) in letters().enumerate() {
            let begins = begins(place);
            if begins != Begins::No {
                self.openers.insert(running.hash, ());
            }
            running = running.then(letter.c);
            self.store.push((letter.c, begins));
        }
        let count = self.store.len() - start;
        let first = self.table.get(&running.hash).copied().unwrap_or(NONE);
        let mut at = first;
        while let Some(form) = self.form(at) {
            if form.allows == told.allows && self.letters(form) == self.store.get(start..).unwrap_or_default() {
                let same = form.entry;
                self.store.truncate(start);
                return Some(same);
            }
            at = form.next;
        }
        self.longest = self.longest.max(count);
        self.table.insert(running.hash, u32::try_from(self.forms.len()).unwrap_or(NONE));
        self.forms.push(Form {
            entry: told.entry,
            start: u32::try_from(start).unwrap_or(NONE),
            letters: u16::try_from(count).unwrap_or(u16::MAX),
            inflects: told.inflects,
            allows: told.allows,
            next: first,
        });
        None
    }

    fn form(&self, at: u32) -> Option<&Form> {
        self.forms.get(at as usize)
    }

    fn letters(&self, form: &Form) -> &[(char, Begins)] {
        let start = form.start as usize;
        self.store.get(start..start + usize::from(form.letters)).unwrap_or_default()
    }

    /// Makes room for so many entries.
    pub(super) fn reserve(&mut self, entries: usize) {
        self.forms.reserve(entries);
        self.table.reserve(entries);
        self.store.reserve(entries * 10);
    }

    /// Gives everything that stands in a text to `found`.
    pub(super) fn find(&self, text: &Letters, raw: &[char], found: &mut impl FnMut(Hit)) {
        if self.forms.is_empty() {
            return;
        }
        let mut sought = Sought { lexicon: self, text, raw, run: Vec::new(), found };
        for first in 0..text.pieces.len() {
            sought.from(first);
            sought.masked(first);
        }
    }
}

/// The search in one text.
struct Sought<'a, F> {
    lexicon: &'a Lexicon,
    text: &'a Letters,
    raw: &'a [char],
    /// Letters from where the search began, with the hash up to each.
    run: Vec<(Letter, Running)>,
    found: &'a mut F,
}

impl<F: FnMut(Hit)> Sought<'_, F> {
    /// Everything that begins with this piece.
    fn from(&mut self, first: usize) {
        self.run.clear();
        let mut running = Running::START;
        // Whether all pieces so far are single letters, and the largest gap between them.
        let mut single = true;
        let most = self.lexicon.longest + 4;
        let mut place = first;
        while let Some(piece) = self.text.pieces.get(place) {
            single &= piece.end - piece.start == 1;
            if place > first && !self.goes_on(piece.gap, single, running) {
                return;
            }
            for letter in self.text.letters.get(piece.start..piece.end).unwrap_or_default() {
                running = running.then(letter.c);
                self.run.push((*letter, running));
            }
            // Of a run of the same letters one counts, so the text may be longer than what it says.
            if self.run.len() > most && distinct(&self.run) > most {
                return;
            }
            self.ends_with(first..place + 1, single);
            place += 1;
        }
    }

    fn goes_on(&self, gap: Gap, single: bool, so_far: Running) -> bool {
        match gap {
            Gap::Far => false,
            Gap::Touching | Gap::Tight if self.run.len() <= LONGEST_WORD => true,
            Gap::Wide if single && self.run.len() <= LONGEST_WORD => true,
            _ => self.lexicon.openers.contains_key(&so_far.hash),
        }
    }

    /// Everything that ends with the last of these pieces: as it is, without an English ending, with two letters in their right order.
    fn ends_with(&mut self, pieces: Range<usize>, single: bool) {
        let count = self.run.len();
        let Some((last, running)) = self.run.last().copied() else { return };
        self.look_up(running.hash, &pieces, single, Stem { letters: count, adds: "", doubles: false, swapped: None });
        if !last.c.is_ascii_lowercase() {
            return;
        }
        for (ending, adds, doubles) in ENDINGS {
            let Some(stem) = count.checked_sub(ending.len()).filter(|stem| *stem > 1) else { continue };
            let tail = self.run.get(stem..).unwrap_or_default();
            if !tail.iter().map(|(letter, _)| letter.c).eq(ending.chars()) {
                continue;
            }
            let Some((_, before)) = self.run.get(stem - 1) else { continue };
            let hash = adds.chars().fold(*before, Running::then).hash;
            self.look_up(hash, &pieces, single, Stem { letters: stem, adds, doubles, swapped: None });
        }
        if pieces.len() == 1 && (LEAST_SWAPPED..=LONGEST).contains(&count) {
            self.swapped(&pieces, count);
        }
    }

    /// `blrop` is `blorp`, where it is no word of its own.
    fn swapped(&mut self, pieces: &Range<usize>, count: usize) {
        let small: Option<Vec<u8>> = self.run.iter().map(|(letter, _)| u8::try_from(letter.c).ok()).collect();
        let Some(small) = small.filter(|word| word.iter().all(u8::is_ascii_lowercase)) else { return };
        let mut known = None;
        for at in 0..count - 1 {
            let (Some(a), Some(b)) = (small.get(at), small.get(at + 1)) else { return };
            if a == b {
                continue;
            }
            let before =
                at.checked_sub(1).and_then(|at| self.run.get(at)).map_or(Running::START, |(_, running)| *running);
            let rest = small.get(at + 2..).unwrap_or_default();
            let full = [*b, *a].into_iter().chain(rest.iter().copied()).map(char::from).fold(before, Running::then);
            // Of four letters the middle two: the ends of a short word tell too much.
            if count == LEAST_SWAPPED && at != 1 {
                continue;
            }
            let plural = if small.ends_with(b"s") && at + 2 < count { 1 } else { 0 };
            let stem = rest.get(..rest.len().saturating_sub(plural)).unwrap_or_default();
            let without = [*b, *a].into_iter().chain(stem.iter().copied()).map(char::from).fold(before, Running::then);
            for (cut, running) in [(0, full), (plural, without)].into_iter().take(1 + plural) {
                if self.lexicon.table.contains_key(&running.hash)
                    && !*known.get_or_insert_with(|| crate::text::is_english(&small))
                {
                    let stem = Stem { letters: count - cut, adds: "", doubles: false, swapped: Some(at) };
                    self.look_up(running.hash, pieces, false, stem);
                }
            }
        }
    }

    /// `bl*rp` and `bl**p`: what stands behind one or two stars is whatever makes an entry of the word, or its plural.
    fn masked(&mut self, first: usize) {
        let (Some(left), Some(right)) = (self.text.pieces.get(first), self.text.pieces.get(first + 1)) else { return };
        let letters = |piece: &Piece| self.text.letters.get(piece.start..piece.end).unwrap_or_default();
        let (left, right, gap) = (letters(left), letters(right), right.gap);
        let (Some(from), Some(to)) = (left.last(), right.first()) else { return };
        let stars = self.raw.get(from.to as usize..to.from as usize).unwrap_or_default();
        let all = left.len() + stars.len() + right.len();
        let masked =
            matches!(stars, ['*'] | ['*', '*']) && left.len() + right.len() > stars.len() && all <= LONGEST_WORD;
        if gap != Gap::Tight || !masked {
            return;
        }
        let raw = (left.first().map_or(0, |one| one.from) as usize)..(right.last().map_or(0, |one| one.to) as usize);
        let before = left.iter().fold(Running::START, |running, one| running.then(one.c));
        let plural = usize::from(right.len() > 1 && right.last().is_some_and(|one| one.c == 's'));
        let second = if stars.len() == 2 { 'a'..='z' } else { '*'..='*' };
        for (a, b) in ('a'..='z').flat_map(|a| second.clone().map(move |b| (a, b))) {
            let hidden = if b == '*' { before.then(a) } else { before.then(a).then(b) };
            for cut in 0..=plural {
                let right = right.get(..right.len() - cut).unwrap_or_default();
                let whole = right.iter().fold(hidden, |running, one| running.then(one.c));
                let mut at = self.lexicon.table.get(&whole.hash).copied().unwrap_or(NONE);
                while let Some(form) = self.lexicon.form(at) {
                    let fill = [a, b].into_iter().filter(|c| *c != '*');
                    let word = left.iter().map(|one| one.c).chain(fill).chain(right.iter().map(|one| one.c));
                    let wanted = self.lexicon.letters(form);
                    if !form.allows && (cut == 0 || form.inflects) && wanted.iter().map(|(c, _)| *c).eq(word) {
                        (self.found)(Hit { entry: form.entry, allows: false, raw: raw.clone() });
                    }
                    at = form.next;
                }
            }
        }
    }

    fn look_up(&mut self, hash: u64, pieces: &Range<usize>, single: bool, stem: Stem) {
        let mut at = self.lexicon.table.get(&hash).copied().unwrap_or(NONE);
        while let Some(form) = self.lexicon.form(at) {
            let inflected = stem.letters < self.run.len() || !stem.adds.is_empty();
            if (!inflected || form.inflects) && self.is_same(form, pieces, single, stem) {
                let raw = self.run.iter().map(|(letter, _)| (letter.from, letter.to));
                let from = raw.clone().map(|place| place.0).min().unwrap_or_default() as usize;
                let to = raw.map(|place| place.1).max().unwrap_or_default() as usize;
                (self.found)(Hit { entry: form.entry, allows: form.allows, raw: from..to });
            }
            at = form.next;
        }
    }

    /// Whether what the hash found is there: the letters, as often, and words that begin where they should.
    fn is_same(&self, form: &Form, pieces: &Range<usize>, single: bool, stem: Stem) -> bool {
        let wanted = self.lexicon.letters(form);
        let whole = pieces.len() == 1;
        if wanted.len() < LEAST_APART && self.gaps(pieces).any(|(_, gap)| gap != Gap::Touching) {
            return false;
        }
        if !self.stands_by_itself(wanted, pieces) {
            return false;
        }
        // An entry that allows is taken as it is written, not in disguise: else a disguise would excuse.
        let strict = form.allows;
        if strict && (stem.swapped.is_some() || self.gaps(pieces).any(|(_, gap)| gap == Gap::Tight)) {
            return false;
        }
        let apart = single && !whole && !strict;
        let mut text = self.stem(stem);
        let mut wanted = wanted.iter().copied().peekable();
        let mut place = 0;
        loop {
            let Some((letter, _)) = wanted.peek().copied() else { return text.next().is_none() };
            // A run of the same letter on both sides.
            let (mut here, mut begins) = (0_usize, Begins::No);
            while let Some((_, one)) = wanted.next_if(|(one, _)| *one == letter) {
                begins = begins.max(one);
                here += 1;
            }
            let (mut there, mut raw, mut gap) = (0_usize, 0_usize, None);
            while let Some(one) = text.next_if(|one: &Letter| {
                // What a sign stands for, an `i` or an `l`, nobody can say.
                one.c == letter || !strict && there < here && self.may_be(*one, letter)
            }) {
                gap = gap.max(self.gap_before(pieces, place));
                there += 1;
                raw += (one.to.saturating_sub(one.from) as usize).max(1);
                place += 1;
            }
            let last = wanted.peek().is_none();
            let stretched = !strict && raw >= 3 && raw >= here;
            let doubled = last && stem.doubles && there == here + 1;
            if there == 0 || !(there == here || stretched || doubled) {
                return false;
            }
            let wide = gap == Some(Parted::Wide);
            if !apart && (wide && begins == Begins::No || gap.is_none() && begins == Begins::Yes) {
                return false;
            }
        }
    }

    /// A number is no part of a longer one with letters: 88 is not in A88.
    fn stands_by_itself(&self, wanted: &[(char, Begins)], pieces: &Range<usize>) -> bool {
        let gap = |at: usize| self.text.pieces.get(at).map(|piece| piece.gap);
        let digit = |one: Option<&(char, Begins)>| one.is_some_and(|(c, _)| c.is_ascii_digit());
        let touched = |at: usize| gap(at) == Some(Gap::Touching);
        !(digit(wanted.first()) && touched(pieces.start) || digit(wanted.last()) && touched(pieces.end))
    }

    /// The letters that are compared, in their right order and with what an ending took away.
    fn stem(&self, stem: Stem) -> std::iter::Peekable<impl Iterator<Item = Letter>> {
        let run = self.run.get(..stem.letters).unwrap_or_default();
        let order = move |at: usize| match stem.swapped {
            Some(first) if at == first => at + 1,
            Some(first) if at == first + 1 => first,
            _ => at,
        };
        let added = stem.adds.chars().map(|c| Letter { c, from: 0, to: 1 });
        (0..run.len()).filter_map(move |at| run.get(order(at)).map(|(letter, _)| *letter)).chain(added).peekable()
    }

    /// Whether a letter of the text that is another may have been meant.
    fn may_be(&self, there: Letter, wanted: char) -> bool {
        let written = self.raw.get(there.from as usize);
        matches!((there.c, wanted), ('i', 'l') | ('l', 'i'))
            && written.is_some_and(|c| !c.is_ascii_lowercase() && *c != 'L')
    }

    /// Gaps within these pieces, and before which letter of the run each is.
    fn gaps(&self, pieces: &Range<usize>) -> impl Iterator<Item = (usize, Gap)> {
        let inside = self.text.pieces.get(pieces.clone()).unwrap_or_default();
        let mut letters = 0;
        inside.iter().enumerate().filter_map(move |(at, piece)| {
            let before = letters;
            letters += piece.end - piece.start;
            (at > 0).then_some((before, piece.gap))
        })
    }

    fn gap_before(&self, pieces: &Range<usize>, letter: usize) -> Option<Parted> {
        if pieces.len() == 1 {
            return None;
        }
        let gap = self.gaps(pieces).find(|(before, _)| *before == letter)?.1;
        Some(if gap == Gap::Wide { Parted::Wide } else { Parted::Tight })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Parted {
    Tight,
    Wide,
}

/// What of a text is compared.
#[derive(Clone, Copy)]
struct Stem {
    /// So many of its first letters.
    letters: usize,
    /// What an ending took away.
    adds: &'static str,
    /// Whether an ending may have doubled the last letter.
    doubles: bool,
    /// Which letter changed places with the next.
    swapped: Option<usize>,
}

fn distinct(run: &[(Letter, Running)]) -> usize {
    1 + run.windows(2).filter(|two| matches!(two, [(a, _), (b, _)] if a.c != b.c)).count()
}
