//! The tokenizer beside the one of Hugging Face: the same ids and the same places, for real texts and for random ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use features::text::WordPiece;
use flate2::read::MultiGzDecoder;
use tokenizers::models::wordpiece::WordPiece as Reference;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{DecoderWrapper, PostProcessorWrapper, TokenizerImpl};
use unicode_normalization::UnicodeNormalization;

const TEXTS: usize = 100_000;

type Both =
    (WordPiece, TokenizerImpl<Reference, BertNormalizer, BertPreTokenizer, PostProcessorWrapper, DecoderWrapper>);

/// The vocabulary committed for this test, or the one named by hand.
fn vocabulary() -> String {
    let file = setting("MODERATO_VOCABULARY").unwrap_or_else(|| root().join("tests/vocabulary.txt"));
    std::fs::read_to_string(file).unwrap()
}

/// A vocabulary that knows each of these characters by itself, so that no word is unknown and each place shows.
fn letters(of: impl Iterator<Item = char>) -> String {
    let normalised = of.flat_map(|c| [c].into_iter().chain(std::iter::once(c).nfd()));
    let known: BTreeSet<char> = normalised.flat_map(|c| std::iter::once(c).chain(c.to_lowercase())).collect();
    let tokens = known.iter().filter(|c| !c.is_whitespace()).map(|c| format!("{c}\n##{c}\n"));
    std::iter::once("[UNK]\n[CLS]\n[SEP]\n".to_owned()).chain(tokens).collect()
}

fn both(vocabulary: &str) -> Both {
    let known = Reference::read_bytes(vocabulary.as_bytes()).unwrap();
    let mut reference = TokenizerImpl::new(Reference::builder().vocab(known).build().unwrap());
    reference.with_normalizer(Some(BertNormalizer::new(true, true, Some(true), true))).unwrap();
    reference.with_pre_tokenizer(Some(BertPreTokenizer));
    (WordPiece::new(vocabulary).unwrap(), reference)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[allow(clippy::disallowed_methods, reason = "a test has no `from_env`")]
fn setting(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// Fails where the two differ; gives how many pieces they agree on.
fn compare((ours, reference): &Both, text: &str) -> usize {
    let pieces = ours.pieces(text);
    let expected = reference.encode_char_offsets(text, false).unwrap();
    let offsets = expected.get_offsets();
    let same = pieces.len() == offsets.len()
        && pieces
            .iter()
            .zip(expected.get_ids())
            .zip(offsets)
            .all(|((piece, id), (start, end))| piece.id == *id && piece.chars == (*start as u32..*end as u32));
    let mut word = None;
    let words = pieces.iter().zip(expected.get_word_ids()).all(|(piece, id)| {
        let starts = word.replace(*id) != Some(*id);
        piece.starts_word == starts
    });
    assert!(same && words, "{text:?}\n{pieces:?}\n{:?}\n{offsets:?}", expected.get_ids());
    pieces.len()
}

/// Up to [`TEXTS`] fields of the corpora that hold more than one word, or none without them.
fn real_texts() -> Vec<String> {
    let folder = setting("MODERATO_DATA").unwrap_or_else(|| root().join("../../../shared/data"));
    let mut files: Vec<_> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => {
            println!("SKIPPED the real texts: no folder {} (MODERATO_DATA)", folder.display());
            return Vec::new();
        }
    };
    files.retain(|file| file.to_string_lossy().ends_with(".csv.gz"));
    files.sort();
    // Each corpus gives an equal share, so that none crowds out the others; what is left over is made up.
    let share = TEXTS / files.len().max(1);
    let mut texts = Vec::new();
    for file in files {
        let reader = MultiGzDecoder::new(std::fs::File::open(file).unwrap());
        let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(reader);
        let fields = rows.byte_records().flat_map(|row| {
            let row = row.unwrap();
            row.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect::<Vec<_>>()
        });
        texts.extend(fields.filter(|field| field.contains(' ')).take(share));
    }
    texts
}

const WORDS: [&str; 16] = [
    "the",
    "Hello",
    "UNAFFABLE",
    "naïve",
    "e\u{301}te\u{301}",
    "İstanbul",
    "straße",
    "don't",
    "@user",
    "#tag",
    "[CLS]",
    "[UNK]",
    "http://x.example/?q=1",
    "##ing",
    "1488",
    "ΣΊΣΥΦΟΣ",
];

/// Where the characters of random texts come from; the first and last of each.
const BLOCKS: [(u32, u32); 24] = [
    (0x00, 0x7f), // ASCII with its controls
    (0x61, 0x7a), // lower-case letters
    (0x61, 0x7a),
    (0x20, 0x20),   // spaces
    (0x80, 0x24f),  // Latin
    (0x300, 0x36f), // combining marks
    (0x300, 0x36f),
    (0x340, 0x345),   // marks that decompose
    (0x370, 0x52f),   // Greek, Cyrillic
    (0x590, 0x6ff),   // Hebrew, Arabic
    (0x900, 0xdff),   // Indic
    (0xf00, 0xfff),   // Tibetan: marks that decompose and reorder
    (0x1e00, 0x1fff), // Latin and Greek with several accents
    (0x2000, 0x206f), // spaces, zero-width, punctuation
    (0x3000, 0x30ff), // kana, tone marks that are no accents
    (0x302a, 0x302f),
    (0x4e00, 0x9fff),   // CJK
    (0xac00, 0xd7a3),   // Hangul
    (0xf900, 0xffff),   // compatibility CJK, half-width forms, specials
    (0x1d150, 0x1d1ff), // musical symbols: combining marks that are no accents
    (0x1f300, 0x1faff), // emoji
    (0x20000, 0x2fa1f), // CJK extensions
    (0xe0000, 0xe01ff), // tags, variation selectors
    (0x00, 0x10ffff),
];

/// SplitMix64 (S. Vigna), so that a seed gives the same texts everywhere.
struct Random(u64);

impl Random {
    fn with_seed(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn usize(&mut self, range: impl std::ops::RangeBounds<usize>) -> usize {
        let (start, end) = bounds(&range);
        start + usize::try_from(self.below((end - start) as u64)).unwrap()
    }

    fn u8(&mut self, range: impl std::ops::RangeBounds<u8>) -> u8 {
        let std::ops::Bound::Excluded(end) = range.end_bound() else { panic!("an open range was meant") };
        u8::try_from(self.below(u64::from(*end))).unwrap()
    }

    fn u32(&mut self, range: std::ops::RangeInclusive<u32>) -> u32 {
        range.start() + u32::try_from(self.below(u64::from(range.end() - range.start()) + 1)).unwrap()
    }
}

fn bounds(range: &impl std::ops::RangeBounds<usize>) -> (usize, usize) {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let start = match range.start_bound() {
        Included(start) => *start,
        Excluded(start) => start + 1,
        Unbounded => 0,
    };
    let Excluded(end) = range.end_bound() else { panic!("a range with an end was meant") };
    (start, *end)
}

fn random_text(random: &mut Random) -> String {
    let mut text = String::new();
    // A text keeps to few blocks, so that what affects its neighbours meets its like.
    let blocks: [_; 4] = std::array::from_fn(|_| BLOCKS[random.usize(..BLOCKS.len())]);
    for _ in 0..random.usize(..40) {
        match random.u8(..8) {
            0 => text.push_str(WORDS[random.usize(..WORDS.len())]),
            1 => text.push(' '),
            2 if random.u8(..50) == 0 => text.push_str(&"aé".repeat(random.usize(48..53))),
            _ => {
                let (first, last) = blocks[random.usize(..blocks.len())];
                text.extend(char::from_u32(random.u32(first..=last)));
            }
        }
    }
    text
}

#[test]
fn equal_to_the_reference_on_a_hundred_thousand_texts() {
    let both = both(&vocabulary());
    let mut texts = real_texts();
    let real = texts.len();
    let mut random = Random::with_seed(7);
    texts.resize_with(TEXTS.max(real), || random_text(&mut random));
    let pieces: usize = texts.iter().map(|text| compare(&both, text)).sum();
    println!("{} texts, {real} of them real: {pieces} pieces, all equal", texts.len());
}

#[test]
fn equal_to_the_reference_where_every_letter_is_known() {
    // Without the ideographs, for which there are not ids enough.
    let small = BLOCKS.iter().filter(|(first, last)| last - first < 0x5000 && *first != 0x20000);
    let both = both(&letters(small.flat_map(|(first, last)| *first..=*last).filter_map(char::from_u32)));
    let mut random = Random::with_seed(8);
    for _ in 0..TEXTS {
        compare(&both, &random_text(&mut random));
    }
}

#[test]
fn equal_to_the_reference_on_each_character_between_others() {
    // The marks around it are no accents and of two combining classes, so that their order shows.
    let around = "ab\u{302e}\u{1d165}".chars();
    // What is assigned or may soon be, and the edges of the planes for private use, whose insides are all alike.
    let ranges = [0x80..0x3_4000, 0xe_0000..0xe_1000, 0xe_fff0..0xf_0010, 0xf_fff0..0x10_0010, 0x10_fff0..0x11_0000];
    let all: Vec<char> = ranges.into_iter().flatten().filter_map(char::from_u32).collect();
    for some in all.chunks(10_000) {
        let both = both(&letters(some.iter().copied().chain(around.clone())));
        for character in some {
            compare(&both, &format!("a\u{302e}{character}\u{1d165}\u{302e}b{character}"));
        }
    }
    let both = both(&vocabulary());
    for character in '\0'..='\u{7f}' {
        compare(&both, &format!("a{character}b {character}"));
    }
}

#[test]
fn equal_to_the_reference_around_the_longest_word() {
    let both = both(&letters("aexyz한i\u{1d165}".chars()));
    for length in 95..106 {
        for letter in ["a", "é", "e\u{301}", "z\u{1d165}", "İ"] {
            compare(&both, &format!("x {} y", letter.repeat(length)));
        }
    }
    for length in 30..36 {
        compare(&both, &format!("x {} y", "한".repeat(length)));
    }
}
