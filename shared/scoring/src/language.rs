//! Whether a text is in English, the language that the model has learned. What it has not learned it scores as noise, which looks
//! harmless; so such a text counts as one that cannot be read.
//!
//! Letters tell most: a word in another script is no English word, unless it only styles Latin letters. In Latin letters three things are
//! asked: which language a classifier of letter sequences takes it for (`whichlang`), how many of its words the model's own vocabulary has
//! whole, and how many are words that English sentences are held together by. English that is short, odd or rude fails one of these often,
//! and all of them seldom. Short texts without a sign of another language count as English.

use std::collections::HashSet;
use std::sync::LazyLock;

use features::text::WordPiece;
use unicode_normalization::UnicodeNormalization;
use unicode_script::{Script, UnicodeScript};

/// What of a text can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legible {
    /// All of it.
    All,
    /// Some sentence of it cannot.
    Partly,
    /// It is in a language that the model has not learned.
    No,
}

/// Words that hold English sentences together, and rude and slangy ones that a vocabulary of written English lacks.
const COMMON: &str = "the and to of a is are you i that it in for on not this they he she we my was be have with all so but do just no your at \
    me if like what can get who one out up about from or an as by am will would there their them his her our has had did does how when why \
    where then than too now only more some any know think people because good very really want going got go see make been being were could \
    should never here into over after us him im dont cant isnt its ive youre thats lol yeah please thank thanks ok okay don t s re ve ll d m \
    bitch bitches hoe hoes ass nigga niggas nigger niggers pussy fuck fuckin fucking fucked shit damn dumb fag fags faggot faggots lmao lmfao \
    stfu haha hahaha omg wtf gonna gon aint dat dey dis wit yo yall ya u ur tho cuz bro dude nah lil retard retarded cunt slut whore gay trash";
static COMMON_WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| COMMON.split_whitespace().collect());

/// Whether a word, in lower case, is one that holds English sentences together.
pub(crate) fn is_common(word: &str) -> bool {
    COMMON_WORDS.contains(word)
}

/// Below this share of common words, and of words that the vocabulary knows, a text that a classifier takes for another language is foreign.
const COMMON_FROM: f64 = 0.26;
const KNOWN_FROM: f64 = 0.75;
/// The same where the classifier takes it for English.
const COMMON_AT_LEAST: f64 = 0.1;
const KNOWN_AT_LEAST: f64 = 0.45;
/// In a longer text a lower share of known words says more.
const LONG_WORDS: usize = 8;
const KNOWN_IN_LONG: f64 = 0.62;
const COMMON_IN_LONG: f64 = 0.3;

/// Whether a text, or a sentence, is in another language. `text` is as it was written, but for addresses and handles.
pub(crate) fn is_foreign(text: &str, vocabulary: Option<&WordPiece>) -> bool {
    let words: Vec<Word> = words(text);
    let (mut foreign, mut letters) = (0, 0);
    for word in words.iter().filter(|word| word.foreign > 1 && word.foreign == word.letters) {
        foreign += 1;
        letters += word.letters;
    }
    if letters >= 2 && foreign * 5 >= words.len() {
        return true;
    }
    if words.len() < 2 {
        return false;
    }
    let share =
        |holds: &dyn Fn(&Word) -> bool| words.iter().filter(|word| holds(word)).count() as f64 / words.len() as f64;
    let is_common = |word: &Word| is_common(&word.lower);
    let common = share(&is_common);
    let known = vocabulary.map_or(common, |known| share(&|word| is_common(word) || known.is_whole(&word.lower)));
    let plain: Vec<&str> = words.iter().map(|word| word.lower.as_str()).collect();
    let english = whichlang::detect_language(&plain.join(" ")) == whichlang::Lang::Eng;
    // A name or a loanword with an accent is one that the vocabulary knows without it.
    let is_strange =
        |word: &&Word| word.accented && !vocabulary.is_some_and(|known| known.is_whole(&bare(&word.lower)));
    let accented = words.iter().any(|word| is_strange(&word));
    if accented && known < 0.85 && common < 0.35 && (!english || known < 0.5) {
        return true;
    }
    match (words.len(), english) {
        (2, english) => !english && known == 0.0,
        _ if known == 0.0 => true,
        (count, false) => {
            common < COMMON_FROM && known < KNOWN_FROM
                || count >= LONG_WORDS && common < COMMON_IN_LONG && known < KNOWN_IN_LONG
        }
        (count, true) => count > 3 && common < COMMON_AT_LEAST && known < KNOWN_AT_LEAST,
    }
}

/// Whether nearly all words of a text are English ones. What is only not foreign may be another language without its accents.
pub(crate) fn is_surely_english(text: &str, vocabulary: Option<&WordPiece>) -> bool {
    let words = words(text);
    let is_known = |word: &&Word| is_common(&word.lower) || vocabulary.is_some_and(|known| known.is_whole(&word.lower));
    words.iter().filter(is_known).count() as f64 >= KNOWN_FROM * words.len() as f64
}

/// A word without its accents.
fn bare(word: &str) -> String {
    word.nfd().filter(char::is_ascii).collect()
}

/// A word of a text.
struct Word {
    lower: String,
    letters: usize,
    /// Letters that are of another script than Latin.
    foreign: usize,
    /// Whether it has a Latin letter that English lacks.
    accented: bool,
}

/// Runs of letters. Letters that only style Latin ones count as these.
fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    for c in text.chars() {
        if !c.is_alphabetic() {
            // The apostrophe of "don't" parts a word in two that are common ones.
            words.extend(word.take());
            continue;
        }
        let open = word.get_or_insert_with(|| Word { lower: String::new(), letters: 0, foreign: 0, accented: false });
        open.letters += 1;
        let styled = c.nfkd().next().filter(char::is_ascii_alphabetic);
        if let Some(letter) = styled {
            open.accented |= ('\u{c0}'..'\u{250}').contains(&c);
            open.lower.extend(if c < '\u{250}' {
                c.to_lowercase().collect()
            } else {
                vec![letter.to_ascii_lowercase()]
            });
        } else {
            let of_latin = matches!(c.script(), Script::Latin | Script::Common | Script::Inherited);
            open.foreign += usize::from(!of_latin);
            open.accented |= of_latin && ('\u{c0}'..'\u{250}').contains(&c);
            open.lower.extend(c.to_lowercase());
        }
    }
    words.extend(word);
    words
}
