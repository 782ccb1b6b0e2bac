//! Signs and digits in the place of letters: `h4te`, `f*ck`.

use super::Mark;
use super::words;

/// Signs and digits that stand for letters.
pub(super) fn is_sign(c: char) -> bool {
    letter_for(c).is_some() || c == '*'
}

pub(super) fn letter_for(c: char) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' | '\u{20ac}' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '6' | '9' => 'g',
        '7' | '+' => 't',
        '8' => 'b',
        _ => return None,
    })
}

/// Words that people mask with stars, of four letters or more where the mask leaves two and their ends tell enough.
const MASKED: [&str; 40] = [
    "fuck",
    "fucks",
    "fucking",
    "fucker",
    "fuckers",
    "fucked",
    "motherfucker",
    "motherfuckers",
    "shit",
    "shits",
    "shitty",
    "bullshit",
    "bitch",
    "bitches",
    "cunt",
    "cunts",
    "whore",
    "whores",
    "slut",
    "sluts",
    "faggot",
    "faggots",
    "fags",
    "nigger",
    "niggers",
    "nigga",
    "niggas",
    "retard",
    "retards",
    "retarded",
    "kike",
    "kikes",
    "tranny",
    "trannies",
    "dyke",
    "dykes",
    "spic",
    "chink",
    "chinks",
    "pussy",
];

/// Digits and signs inside words become the letters they look like; stars in words that are known to be masked, theirs.
pub(super) fn letters_for_signs(marks: &[Mark]) -> Vec<Mark> {
    let mut out = Vec::with_capacity(marks.len());
    let mut rest = marks;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|m| m.c.is_alphanumeric() || is_sign(m.c)).count();
        if length == 0 {
            out.push(*first);
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let word = rest.get(..length).unwrap_or_default();
        // Signs at the end of a word are what they are more often: "you!", "C+", "win$".
        let tail = word.iter().rev().take_while(|m| matches!(m.c, '!' | '+' | '*')).count();
        let (body, tail) = word.split_at_checked(length - tail).unwrap_or((word, &[]));
        // Stars around a word stress it.
        let stressed = body.first().is_some_and(|m| m.c == '*') && tail.iter().any(|m| m.c == '*');
        let letters = if stressed { None } else { unmasked(body) };
        match letters {
            Some(letters) => out.extend(letters),
            None if is_user(body) => out.extend_from_slice(body),
            None => unleeted(body, &mut out),
        }
        out.extend_from_slice(tail);
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// Whether a word is what handles are read as.
fn is_user(word: &[Mark]) -> bool {
    word.iter().map(|mark| mark.c).eq("@user".chars())
}

fn unmasked(word: &[Mark]) -> Option<Vec<Mark>> {
    let stars = word.iter().filter(|m| m.c == '*').count();
    if stars == 0 || word.len() - stars < 2 {
        return None;
    }
    let small: Vec<u8> =
        word.iter().map(|m| u8::try_from(m.c.to_ascii_lowercase()).unwrap_or(b'?')).take(LONGEST + 1).collect();
    let fits = |known: &&&str| {
        known.len() == word.len() && known.bytes().zip(&small).all(|(letter, shown)| *shown == b'*' || *shown == letter)
    };
    let known = MASKED.iter().find(fits).map(|known| known.bytes().collect());
    let letter = |(letter, m): (u8, &Mark)| if m.c == '*' { Mark { c: letter.into(), ..*m } } else { *m };
    let known: Vec<u8> = known.or_else(|| {
        let plausible = (4..=LONGEST).contains(&word.len()) && stars * 2 <= word.len();
        plausible.then(|| words::likeliest(&small)).flatten()
    })?;
    Some(known.into_iter().zip(word).map(letter).collect())
}

/// Longer words are not looked up.
const LONGEST: usize = 24;

fn unleeted(word: &[Mark], out: &mut Vec<Mark>) {
    let sign = |m: &Mark| letter_for(m.c).is_some();
    let letters = word.iter().filter(|m| m.c.is_alphabetic()).count();
    let signs = word.iter().filter(|m| sign(m)).count();
    let leading = word.iter().take_while(|m| sign(m)).count();
    let trailing = word.iter().rev().take_while(|m| m.c.is_ascii_digit()).count();
    // "2nd", "10pm", "90s", "mp3", "covid19" are what they are.
    let ordinal =
        leading == signs && leading > 0 && letters <= 2 && word.iter().take(leading).all(|m| m.c.is_ascii_digit());
    let numbered = trailing == signs && (letters < 3 || trailing > 1);
    let foldable = letters > 0 && signs > 0 && letters + 1 >= signs && word.len() > 1 && !ordinal && !numbered;
    for (index, mark) in word.iter().enumerate() {
        let at = |i: Option<usize>| i.and_then(|i| word.get(i)).map(|m| m.c);
        let c = match letter_for(mark.c) {
            Some('i') if foldable => {
                let vowel = |c: Option<char>| c.is_some_and(|c| "aeiouAEIOU034@".contains(c));
                let (before, after) = (at(index.checked_sub(1)), at(Some(index + 1)));
                // One beside another, or before a vowel at the start, or after one before an l, is an l.
                let doubled = before == Some(mark.c) || after == Some(mark.c);
                let one = mark.c == '1';
                if one && (doubled || (index == 0 && vowel(after)) || (vowel(before) && after.is_none_or(|c| c == 'l')))
                {
                    'l'
                } else {
                    'i'
                }
            }
            Some(letter) if foldable => letter,
            _ => mark.c,
        };
        out.push(Mark { c, ..*mark });
    }
}
