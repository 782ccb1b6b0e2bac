//! Look-alikes of letters: alphabets of generators, letters upside down, letters of other scripts.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript};
use unicode_security::confusable_detection::skeleton;

use super::Mark;
use super::words::{self, cut};

/// Letters that neither `decancer` nor Unicode's tables take for the right one.
const OWN: &str = "₴sᔕsꞯq∂d丨i丂s𐞥qᕼhвbʋv£lꟼpƧsᎶgⳅsⳳvϥqⲇdⳋgⲅrłlӀlӏlճb๏o§s†t×xՃxשv";
/// Runes that a generator takes for letters of their sound.
const RUNES: &str = "ᚨaᛒbᚲcᛞdᛖeᚠfᚷgᚺhᛁiᛃjᚴkᛚlᛗmᚾnᛟoᛈpᚱrᛊsᛏtᚢuᛉz";

fn paired(table: &str, wanted: char) -> Option<char> {
    let mut pairs = table.chars();
    while let (Some(from), Some(to)) = (pairs.next(), pairs.next()) {
        if from == wanted {
            return Some(to);
        }
    }
    None
}

/// Look-alikes of ASCII letters become these; accents go. A text that is written in another script is left in it.
pub(super) fn ascii_letters(marks: &[Mark]) -> Vec<Mark> {
    if marks.iter().all(|mark| mark.c.is_ascii()) {
        return marks.to_vec();
    }
    let mut out = Vec::with_capacity(marks.len());
    for line in marks.split_inclusive(|mark| mark.c == '\n') {
        let foreign = is_foreign(line);
        for word in line.chunk_by(|a, b| a.c.is_whitespace() == b.c.is_whitespace()) {
            if word.iter().all(|mark| mark.c.is_ascii()) || (foreign && is_native(word)) {
                out.extend_from_slice(word);
            } else {
                word_letters(word, &mut out);
            }
        }
    }
    out
}

/// Whether a letter belongs to a script that sentences are written in.
fn native(c: char) -> bool {
    c.is_alphabetic()
        && !matches!(c.script(), Script::Latin | Script::Common | Script::Inherited | Script::Unknown | Script::Runic)
        && !matches!(c, 'ᐁ'..='ᙶ')
}

/// Whether a word is all in another script. Nobody writes a word in two, but for those of East Asia.
fn is_native(word: &[Mark]) -> bool {
    let group = |script: Script| match script {
        Script::Hiragana | Script::Katakana | Script::Bopomofo | Script::Hangul => Script::Han,
        other => other,
    };
    let mut letters = word.iter().filter(|mark| mark.c.is_alphabetic()).peekable();
    let Some(first) = letters.peek().map(|mark| group(mark.c.script())) else { return false };
    letters.all(|mark| native(mark.c) && group(mark.c.script()) == first)
}

/// Whether the words of a line that are all in other scripts are no English in disguise.
fn is_foreign(line: &[Mark]) -> bool {
    let (mut letters, mut native, mut longest) = (Vec::new(), 0, 0);
    for word in line.chunk_by(|a, b| a.c.is_whitespace() == b.c.is_whitespace()) {
        if is_native(word) {
            // One letter by itself may be of a word whose letters are kept apart.
            let length = word.iter().filter(|mark| mark.c.is_alphabetic()).count();
            longest = longest.max(length);
            native += length;
            for mark in word.iter().filter(|mark| mark.c.is_alphabetic()) {
                letters.extend(letters_of(mark.c).iter().map(|c| u8::try_from(c.to_ascii_lowercase()).unwrap_or(b'?')));
            }
        }
    }
    let all = line.iter().filter(|mark| mark.c.is_alphabetic()).count();
    longest > 1 && native * 2 > all && !cut(&letters).is_mostly_words()
}

fn word_letters(word: &[Mark], out: &mut Vec<Mark>) {
    // In the alphabet of currency signs an I is an ł.
    let currency = word.iter().any(|mark| is_currency(mark.c) || matches!(mark.c, 'Ɇ' | 'Ⱡ' | 'Ɽ' | 'Ɏ' | 'Ᵽ' | 'Ⱬ'));
    let digits = word.iter().any(|mark| mark.c.is_ascii_digit());
    for (index, mark) in word.iter().enumerate() {
        let beside = |at: Option<usize>| {
            at.and_then(|at| word.get(at)).is_some_and(|mark| mark.c.is_alphabetic() || is_currency(mark.c))
        };
        if mark.c.is_ascii() {
            out.push(*mark);
        } else if is_combining_mark(mark.c) {
            // An accent by itself says nothing a letter did not.
        } else if currency && mark.c == 'ł' {
            out.push(Mark { c: 'i', ..*mark });
        } else if is_currency(mark.c) || (!mark.c.is_alphanumeric() && paired(OWN, mark.c).is_some()) {
            let letter = beside(index.checked_sub(1)) || beside(Some(index + 1));
            let cured = if letter && !digits { cured(mark.c) } else { None };
            out.extend(cured.unwrap_or_else(|| vec![mark.c]).into_iter().map(|c| Mark { c, ..*mark }));
        } else {
            out.extend(letters_of(mark.c).into_iter().map(|c| Mark { c, ..*mark }));
        }
    }
}

fn is_currency(c: char) -> bool {
    matches!(c, '\u{a2}' | '\u{a3}' | '\u{a5}' | '\u{e3f}' | '\u{20a0}'..='\u{20cf}')
}

/// What `decancer` reads a character as, where that is ASCII letters; it gives them small.
fn cured(c: char) -> Option<Vec<char>> {
    if let Some(letter) = paired(OWN, c).or_else(|| paired(RUNES, c)) {
        return Some(vec![letter]);
    }
    let read: Vec<char> = decancer::cure_char!(c).to_string().chars().collect();
    (!read.is_empty() && read.iter().all(char::is_ascii_alphabetic)).then_some(read)
}

fn letters_of(c: char) -> Vec<char> {
    if c.is_ascii() {
        return vec![c];
    }
    let ascii = |c: &char| c.is_ascii_alphanumeric();
    let cased = |letters: Vec<char>| -> Vec<char> {
        letters.into_iter().map(|l| if c.is_uppercase() { l.to_ascii_uppercase() } else { l }).collect()
    };
    if let Some(letter) = paired(OWN, c) {
        return cased(vec![letter]);
    }
    let compatible: Vec<char> = c.nfkd().filter(|c| !is_combining_mark(*c)).collect();
    // "(k)" is a k.
    let bare: Vec<char> = match compatible.as_slice() {
        ['(' | '\u{3014}', letter, ')' | '\u{3015}'] if letter.is_ascii_alphabetic() => vec![*letter],
        _ => compatible.clone(),
    };
    if !bare.is_empty() && bare.iter().all(ascii) {
        return bare;
    }
    if c.is_alphanumeric() {
        if let Some(letters) = cured(c) {
            return cased(letters);
        }
        let mut raw = [0; 4];
        let alike: Vec<char> = skeleton(c.encode_utf8(&mut raw)).filter(|c| !is_combining_mark(*c)).collect();
        if !alike.is_empty() && alike.iter().all(ascii) {
            // Prototypes do not keep the case; a capital I stands for l there, which says little either way.
            return if c.is_lowercase() { alike.iter().map(char::to_ascii_lowercase).collect() } else { alike };
        }
    }
    match compatible.first() {
        Some(letter) if compatible.len() == 1 => vec![*letter],
        _ => vec![c],
    }
}

/// Squares, discs and regional signs that are letters, though some of them are emoji by themselves or in pairs.
pub(super) fn unboxed(marks: &[Mark]) -> Vec<Mark> {
    let regional = |c: char| matches!(c, '\u{1f1e6}'..='\u{1f1ff}');
    let runs = || marks.chunk_by(|a, b| regional(a.c) == regional(b.c));
    let flags = runs().filter(|run| run.iter().all(|mark| regional(mark.c))).all(|run| {
        let letter = |mark: &Mark| u8::try_from(u32::from(mark.c) - 0x1_f1e6).unwrap_or_default() + b'a';
        run.chunks(2).all(is_flag) && !(run.len() > 3 && words::known(&run.iter().map(letter).collect::<Vec<_>>()))
    });
    let mut out = Vec::with_capacity(marks.len());
    for run in runs() {
        for mark in run {
            let start = match mark.c {
                '\u{1f130}'..='\u{1f149}' => '\u{1f130}',
                '\u{1f150}'..='\u{1f169}' => '\u{1f150}',
                '\u{1f170}'..='\u{1f189}' => '\u{1f170}',
                '\u{24b6}'..='\u{24cf}' => '\u{24b6}',
                c if regional(c) && !flags => '\u{1f1e6}',
                _ => {
                    out.push(*mark);
                    continue;
                }
            };
            let letter = char::from_u32(u32::from(mark.c) - u32::from(start) + u32::from('A'));
            out.push(Mark { c: letter.unwrap_or(mark.c), ..*mark });
        }
    }
    out
}

fn is_flag(pair: &[Mark]) -> bool {
    emojis::get(&pair.iter().map(|mark| mark.c).collect::<String>()).is_some()
}

/// Letters that stand on their head, and the letter that each is the right way up: first those that say so, then those
/// that look like another letter or sign.
const TURNED: &str = "ɐaɔcǝeɟfƃgɓgᵷgɥhᴉiᴉiıiɾjʞkןlɯmɹrʇtʌvʍwʎy∀A𐐒BƆCᗡDƎEℲF⅁G⅃LſJ˥LԀPᴚRΛV⅄Yꓘk⊥T∩U¿?¡!؛;˙.‾_";
const TURNED_ALIKE: &str = "nuundpqbbqpdxxzzssoollHHIINNOOSSXXZZMWWM69960011";

/// A stretch of letters that stand on their head is read from its end.
pub(super) fn upright(mut marks: Vec<Mark>) -> Vec<Mark> {
    let turned = |c: char| if c.is_ascii() { None } else { paired(TURNED, c) };
    let either = |c: char| turned(c).or_else(|| paired(TURNED_ALIKE, c));
    if !marks.iter().any(|mark| turned(mark.c).is_some()) {
        return marks;
    }
    let letter = |c: char| c.is_alphanumeric() || turned(c).is_some();
    let mut start = 0;
    while start < marks.len() {
        let rest = marks.get(start..).unwrap_or_default();
        // Words whose letters can all be turned, and what is between them.
        let mut end = 0;
        for word in rest.chunk_by(|a, b| letter(a.c) == letter(b.c)) {
            if word.iter().any(|mark| mark.c == '\n')
                || (word.iter().any(|mark| letter(mark.c)) && !word.iter().all(|mark| either(mark.c).is_some()))
            {
                break;
            }
            end += word.len();
        }
        let stretch = rest.get(..end).unwrap_or_default();
        let letters = stretch.iter().filter(|mark| letter(mark.c)).count();
        let telling = stretch.iter().filter(|mark| mark.c.is_alphabetic() && turned(mark.c).is_some()).count();
        if telling >= 2 && telling * 4 >= letters {
            let up: Vec<Mark> =
                stretch.iter().map(|mark| Mark { c: either(mark.c).unwrap_or(mark.c), ..*mark }).collect();
            let back: Vec<Mark> = up.iter().rev().copied().collect();
            let read = if words_in(&up) > words_in(&back) { up } else { back };
            if let Some(place) = marks.get_mut(start..start + end) {
                place.copy_from_slice(&read);
            }
        }
        let rest = marks.get(start + end..).unwrap_or_default();
        // Past the word that cannot be turned.
        start += end + rest.iter().take_while(|mark| letter(mark.c)).count().max(1);
    }
    marks
}

/// How many letters are in words of three letters or more that English has.
fn words_in(marks: &[Mark]) -> usize {
    let words = marks.split(|mark| !mark.c.is_ascii_alphabetic());
    let small = |word: &[Mark]| word.iter().map(|mark| mark.c.to_ascii_lowercase() as u8).collect::<Vec<_>>();
    words.filter(|word| word.len() > 2 && words::known(&small(word))).map(<[Mark]>::len).sum()
}
