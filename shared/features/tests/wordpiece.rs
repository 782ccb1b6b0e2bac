//! The tokenizer beside the one of Hugging Face: the same ids and the same places, for real texts and for random ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

use std::path::{Path, PathBuf};

use features::text::WordPiece;
use flate2::read::MultiGzDecoder;
use tokenizers::models::wordpiece::WordPiece as Reference;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{DecoderWrapper, PostProcessorWrapper, TokenizerImpl};

const TEXTS: usize = 100_000;

type Both =
    (WordPiece, TokenizerImpl<Reference, BertNormalizer, BertPreTokenizer, PostProcessorWrapper, DecoderWrapper>);

fn both() -> Both {
    let file = setting("MODERATO_VOCABULARY").unwrap_or_else(|| root().join("tests/vocabulary.txt"));
    let vocabulary = std::fs::read_to_string(file).unwrap();
    let known = Reference::read_bytes(vocabulary.as_bytes()).unwrap();
    let mut reference = TokenizerImpl::new(Reference::builder().vocab(known).build().unwrap());
    reference.with_normalizer(Some(BertNormalizer::new(true, true, Some(true), true))).unwrap();
    reference.with_pre_tokenizer(Some(BertPreTokenizer));
    (WordPiece::new(&vocabulary).unwrap(), reference)
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

fn random_text(random: &mut fastrand::Rng) -> String {
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
    let both = both();
    let mut texts = real_texts();
    let real = texts.len();
    let mut random = fastrand::Rng::with_seed(7);
    texts.resize_with(TEXTS.max(real), || random_text(&mut random));
    let pieces: usize = texts.iter().map(|text| compare(&both, text)).sum();
    println!("{} texts, {real} of them real: {pieces} pieces, all equal", texts.len());
}

#[test]
fn equal_to_the_reference_on_every_character_between_others() {
    let both = both();
    for character in (0..=0x10_ffff).filter_map(char::from_u32) {
        // The marks around it are no accents and of two combining classes, so that their order shows.
        compare(&both, &format!("a\u{302e}{character}\u{1d165}\u{302e}b"));
    }
}

#[test]
fn equal_to_the_reference_around_the_longest_word() {
    let both = both();
    for length in 95..106 {
        for letter in ["a", "é", "e\u{301}", "한", "z\u{1d165}", "İ"] {
            compare(&both, &format!("x {} y", letter.repeat(length)));
        }
    }
}
