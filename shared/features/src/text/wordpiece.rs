//! The tokenizer of uncased BERT models: cleaned, lower-case words without accents, cut into pieces of a vocabulary.
//!
//! Equal, with its quirks, to what the `tokenizers` crate of Hugging Face makes of `BertNormalizer`,
//! `BertPreTokenizer` and `WordPiece`: a test compares ids and places.

mod classes;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use thiserror::Error;
use unicode_normalization::char::{canonical_combining_class, decompose_canonical};

use classes::{Class, class};

/// Words of more characters than this, once normalised, are unknown.
const LONGEST_WORD: usize = 100;
/// What marks a token that continues a word.
const CONTINUES: &str = "##";

/// Why a vocabulary cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum VocabularyError {
    /// A token that the tokenizer itself needs is not there.
    #[error("the vocabulary has no `{0}`")]
    Missing(&'static str),
    /// A token stands there twice.
    #[error("line {line} of the vocabulary repeats the token `{token}`")]
    Duplicate {
        /// The token.
        token: String,
        /// The line of its second place, counted from 1.
        line: usize,
    },
    /// An id would not fit into 16 bits.
    #[error("the vocabulary has {0} tokens, more than 65536")]
    TooLong(usize),
}

/// A piece of a word, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The token's number in the vocabulary.
    pub id: u32,
    /// Where it stands, in Unicode scalar values of the text given. Several pieces may share a character that was
    /// decomposed, and removed accents belong to no piece or to the one around them.
    pub chars: Range<u32>,
    /// Whether it is the first piece of its word; an unknown word and a punctuation mark are words of one piece.
    pub starts_word: bool,
}

/// A vocabulary, ready to cut texts.
#[derive(Clone)]
pub struct WordPiece {
    /// The tokens' texts one after another, without the mark of continuation.
    texts: String,
    tokens: Vec<Token>,
    /// An open-addressing table from hashes to tokens; its length is a power of two.
    slots: Vec<Slot>,
    /// Characters of the longest token.
    longest: usize,
    unknown: u32,
    start: u32,
    end: u32,
}

#[derive(Clone)]
struct Token {
    text: Range<usize>,
    continues: bool,
}

#[derive(Clone, Copy)]
struct Slot {
    /// The upper half of the hash, which is the better mixed.
    hash: u32,
    /// [`EMPTY`] for none.
    id: u32,
}

const EMPTY: u32 = u32::MAX;

impl fmt::Debug for WordPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WordPiece").field("tokens", &self.len()).finish_non_exhaustive()
    }
}

impl WordPiece {
    /// Reads a vocabulary of one token a line; the line's number, counted from 0, is the token's id. White space at
    /// the end of a line is no part of the token.
    pub fn new(vocabulary: &str) -> Result<Self, VocabularyError> {
        let count = vocabulary.lines().count();
        if count > usize::from(u16::MAX) + 1 {
            return Err(VocabularyError::TooLong(count));
        }
        let empty = Slot { hash: 0, id: EMPTY };
        let mut out = Self {
            texts: String::with_capacity(vocabulary.len()),
            tokens: Vec::with_capacity(count),
            slots: vec![empty; (count * 2).next_power_of_two()],
            longest: 0,
            unknown: 0,
            start: 0,
            end: 0,
        };
        let (mut unknown, mut start, mut end) = (None, None, None);
        for (id, line) in (0..).zip(vocabulary.lines()) {
            let token = line.trim_end();
            match token {
                "[UNK]" => unknown = Some(id),
                "[CLS]" => start = Some(id),
                "[SEP]" => end = Some(id),
                _ => {}
            }
            if !out.insert(token, id) {
                return Err(VocabularyError::Duplicate { token: token.to_owned(), line: out.tokens.len() + 1 });
            }
        }
        out.unknown = unknown.ok_or(VocabularyError::Missing("[UNK]"))?;
        out.start = start.ok_or(VocabularyError::Missing("[CLS]"))?;
        out.end = end.ok_or(VocabularyError::Missing("[SEP]"))?;
        Ok(out)
    }

    /// Takes in the next token; false where it is known already.
    fn insert(&mut self, token: &str, id: u32) -> bool {
        let (text, continues) = match token.strip_prefix(CONTINUES) {
            Some(text) => (text, true),
            None => (token, false),
        };
        let (hash, length) = text.chars().fold((seed(continues), 0), |(hash, length), c| (mixed(hash, c), length + 1));
        if self.find(hash, continues, text.chars()).is_some() {
            return false;
        }
        self.longest = self.longest.max(length);
        let from = self.texts.len();
        self.texts.push_str(text);
        self.tokens.push(Token { text: from..self.texts.len(), continues });
        let mask = self.slots.len() - 1;
        let hash = upper(hash);
        let mut index = self.slot(hash);
        while let Some(slot) = self.slots.get_mut(index) {
            if slot.id == EMPTY {
                *slot = Slot { hash, id };
                break;
            }
            index = (index + 1) & mask;
        }
        true
    }

    /// Where the search for a hash starts.
    fn slot(&self, hash: u32) -> usize {
        usize::try_from(hash).unwrap_or(0) & (self.slots.len() - 1)
    }

    fn find(&self, hash: u64, continues: bool, text: impl Iterator<Item = char> + Clone) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let hash = upper(hash);
        let mut index = self.slot(hash);
        // At least half of the slots are empty, so that this ends.
        loop {
            let slot = self.slots.get(index)?;
            if slot.id == EMPTY {
                return None;
            }
            if slot.hash == hash && self.is(slot.id, continues, text.clone()) {
                return Some(slot.id);
            }
            index = (index + 1) & mask;
        }
    }

    fn is(&self, id: u32, continues: bool, text: impl Iterator<Item = char>) -> bool {
        let token = usize::try_from(id).ok().and_then(|index| self.tokens.get(index));
        token.is_some_and(|token| {
            token.continues == continues
                && self.texts.get(token.text.clone()).is_some_and(|known| known.chars().eq(text))
        })
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Never true: a vocabulary has at least the tokens that the tokenizer needs.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The id of `[UNK]`.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The id of `[CLS]`, which models expect before the pieces.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// The id of `[SEP]`, which models expect after the pieces.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Whether a word in small letters is one of the tokens.
    pub fn is_whole(&self, word: &str) -> bool {
        let pieces = self.pieces(word);
        word.is_ascii() && matches!(pieces.as_slice(), [piece] if piece.id != self.unknown)
    }

    /// The pieces of a text in order, without `[CLS]` and `[SEP]`. Such names in the text are read like any others.
    pub fn pieces(&self, text: &str) -> Vec<Piece> {
        let mut reader = Reader {
            vocabulary: self,
            pieces: Vec::with_capacity(text.len() / 4),
            word: Vec::with_capacity(LONGEST_WORD),
            places: None,
            hashes: Vec::with_capacity(LONGEST_WORD),
            marks: Vec::new(),
            sources: Vec::new(),
            place: 0,
        };
        let mut place = 0_u32;
        for character in text.chars() {
            reader.read(character, place);
            place = place.saturating_add(1);
        }
        reader.settle();
        reader.end_word();
        reader.pieces
    }
}

fn seed(continues: bool) -> u64 {
    if continues { 0x9e37_79b9_7f4a_7c15 } else { 0 }
}

fn upper(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

/// A hash with one more character taken in.
fn mixed(hash: u64, character: char) -> u64 {
    (hash.rotate_left(5) ^ u64::from(u32::from(character))).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// A character of a word, normalised, and the place of the raw one that it came from.
#[derive(Clone, Copy)]
struct Letter {
    character: char,
    place: u32,
}

/// A combining character that waits until all up to the next base character are known, to be put in canonical order.
struct Mark {
    combining: u8,
    character: char,
    /// Whether it came first out of its raw character.
    first: bool,
}

struct Reader<'a> {
    vocabulary: &'a WordPiece,
    pieces: Vec<Piece>,
    /// The word so far, no further than needed to see that it is too long.
    word: Vec<Letter>,
    /// Where the whole word stands.
    places: Option<Range<u32>>,
    hashes: Vec<u64>,
    marks: Vec<Mark>,
    /// The places of the raw characters that the waiting marks came from. The reference hands them out in the order of
    /// the text to marks that it has put in another one.
    sources: Vec<u32>,
    /// The last place handed out.
    place: u32,
}

impl Reader<'_> {
    /// Takes in a raw character: cleans it and sets ideographs apart.
    fn read(&mut self, raw: char, place: u32) {
        if raw.is_ascii() {
            match raw {
                '\t' | '\n' | '\r' => self.base(' ', place),
                _ if raw.is_ascii_control() => {}
                _ => self.base(raw, place),
            }
            return;
        }
        match class(raw) {
            Class::Dropped => {}
            Class::Newer => self.base(raw, place),
            _ if raw.is_whitespace() => self.base(' ', place),
            _ if is_ideograph(raw) => {
                self.base(' ', place);
                self.decompose(raw, place);
                self.base(' ', place);
            }
            _ => self.decompose(raw, place),
        }
    }

    fn decompose(&mut self, raw: char, place: u32) {
        let mut first = true;
        decompose_canonical(raw, |character| {
            let combining = canonical_combining_class(character);
            if combining > 0 {
                self.marks.push(Mark { combining, character, first });
                if first {
                    self.sources.push(place);
                }
            } else {
                self.base(character, place);
            }
            first = false;
        });
    }

    /// Takes in a character that no other is moved across.
    fn base(&mut self, character: char, place: u32) {
        self.settle();
        self.place = place;
        self.strip(character, place);
    }

    /// Takes in the marks that wait.
    fn settle(&mut self) {
        if self.marks.is_empty() {
            return;
        }
        let mut marks = std::mem::take(&mut self.marks);
        let mut sources = std::mem::take(&mut self.sources);
        marks.sort_by_key(|mark| mark.combining);
        let mut places = sources.drain(..);
        for mark in marks.drain(..) {
            if mark.first {
                self.place = places.next().unwrap_or(self.place);
            }
            self.strip(mark.character, self.place);
        }
        drop(places);
        (self.marks, self.sources) = (marks, sources);
    }

    /// Takes in a decomposed character: drops accents, lower-cases the others.
    fn strip(&mut self, character: char, place: u32) {
        if character.is_ascii() {
            self.push(character.to_ascii_lowercase(), place);
        } else if class(character) != Class::Accent {
            character.to_lowercase().for_each(|lower| self.push(lower, place));
        }
    }

    /// Takes in a normalised character.
    fn push(&mut self, character: char, place: u32) {
        if character.is_whitespace() {
            self.end_word();
        } else if is_punctuation(character) {
            self.end_word();
            self.letter(character, place);
            self.end_word();
        } else {
            self.letter(character, place);
        }
    }

    fn letter(&mut self, character: char, place: u32) {
        if self.word.len() <= LONGEST_WORD {
            self.word.push(Letter { character, place });
        }
        let start = self.places.as_ref().map_or(place, |places| places.start);
        self.places = Some(start..place.saturating_add(1));
    }

    fn end_word(&mut self) {
        let Some(chars) = self.places.take() else {
            return;
        };
        let before = self.pieces.len();
        if self.word.len() > LONGEST_WORD || self.cut().is_none() {
            self.pieces.truncate(before);
            self.pieces.push(Piece { id: self.vocabulary.unknown, chars, starts_word: true });
        }
        self.word.clear();
    }

    /// Pushes the pieces of the word, each as long as can be; none, perhaps after some, where the vocabulary has no
    /// way on.
    fn cut(&mut self) -> Option<()> {
        let mut rest = self.word.as_slice();
        let mut starts_word = true;
        while let Some(first) = rest.first() {
            let (id, length) = longest(self.vocabulary, rest, !starts_word, &mut self.hashes)?;
            let (piece, after) = rest.split_at_checked(length)?;
            let end = piece.last()?.place.saturating_add(1);
            self.pieces.push(Piece { id, chars: first.place..end, starts_word });
            rest = after;
            starts_word = false;
        }
        Some(())
    }
}

/// The longest token that the letters start with, and its length in letters.
fn longest(vocabulary: &WordPiece, letters: &[Letter], continues: bool, hashes: &mut Vec<u64>) -> Option<(u32, usize)> {
    hashes.clear();
    let mut hash = seed(continues);
    hashes.extend(letters.iter().take(vocabulary.longest).map(|letter| {
        hash = mixed(hash, letter.character);
        hash
    }));
    hashes.iter().enumerate().rev().find_map(|(index, hash)| {
        let text = letters.iter().take(index + 1).map(|letter| letter.character);
        Some((vocabulary.find(*hash, continues, text)?, index + 1))
    })
}

fn is_punctuation(character: char) -> bool {
    if character.is_ascii() { character.is_ascii_punctuation() } else { class(character) == Class::Punctuation }
}

/// Whether the reference sets a character apart as Chinese; its list leaves out a part of extension E.
fn is_ideograph(character: char) -> bool {
    matches!(
        u32::from(character),
        0x4e00..=0x9fff
            | 0x3400..=0x4dbf
            | 0x20000..=0x2a6df
            | 0x2a700..=0x2b73f
            | 0x2b740..=0x2b81f
            | 0x2b920..=0x2ceaf
            | 0xf900..=0xfaff
            | 0x2f800..=0x2fa1f
    )
}
