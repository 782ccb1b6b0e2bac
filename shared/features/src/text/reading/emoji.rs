//! Emoji by name, without what the name says of the person in the picture: skin tone, sex, hair, dress, country.

use std::borrow::Cow;

use super::{Mark, push};

/// Characters of the longest emoji.
const LONGEST: usize = 10;

/// Modifiers that give an emoji a skin tone.
pub(super) fn is_tone(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

/// Parts of emoji that show hair.
pub(super) fn is_hair(c: char) -> bool {
    matches!(c, '\u{1f9b0}'..='\u{1f9b3}')
}

/// The longest emoji at the start: how many characters it takes, and what is said for it.
pub(super) fn emoji(rest: &[Mark]) -> Option<(usize, Cow<'static, str>)> {
    let first = rest.first()?.c;
    let second = rest.get(1).map(|mark| mark.c);
    // Digits and signs become emoji only with a sign for a keycap after them.
    if first < '\u{a9}' && !matches!(second, Some('\u{fe0f}' | '\u{20e3}')) {
        return None;
    }
    // Letters of other scripts are no emoji; this keeps them cheap. A tone or hair by itself shows nobody.
    if matches!(first, '\u{b0}'..='\u{2000}' | '\u{3300}'..='\u{ffff}') || is_tone(first) || is_hair(first) {
        return None;
    }
    let chars = || rest.iter().take(LONGEST * 2).map(|mark| mark.c);
    let window = chars().count().min(LONGEST);
    let (length, emoji) = (1..=window).rev().find_map(|length| {
        let candidate: String = chars().take(length).collect();
        emojis::get(&candidate).map(|emoji| (length, emoji))
    })?;
    // Tones make combinations that Unicode does not list; the one without them is what is shown.
    let plain: Vec<(usize, char)> = chars().enumerate().filter(|(_, c)| !is_tone(*c)).take(LONGEST).collect();
    let toneless = (1..=plain.len()).rev().find_map(|kept| {
        let candidate: String = plain.iter().take(kept).map(|(_, c)| *c).collect();
        let last = plain.get(kept - 1)?.0;
        emojis::get(&candidate).map(|emoji| (last + 1, emoji))
    });
    let (length, emoji) = match toneless {
        Some((longer, toneless)) if longer > length => (longer, toneless),
        _ => (length, emoji.with_skin_tone(emojis::SkinTone::Default).unwrap_or(emoji)),
    };
    Some((length + looks(rest.get(length..).unwrap_or_default()), neutral(emoji.name())))
}

/// How many characters go on changing the look of a picture: its tone, its sex, its hair.
fn looks(rest: &[Mark]) -> usize {
    let look = |mark: Option<&Mark>| {
        mark.is_some_and(|mark| {
            is_tone(mark.c) || is_hair(mark.c) || matches!(mark.c, '\u{fe0f}' | '\u{2640}' | '\u{2642}')
        })
    };
    let mut length = 0;
    loop {
        if look(rest.get(length)) {
            length += 1;
        } else if rest.get(length).is_some_and(|mark| mark.c == '\u{200d}') && look(rest.get(length + 1)) {
            length += 2;
        } else {
            return length;
        }
    }
}

/// An emoji's name as words apart from their neighbours.
pub(super) fn name_emoji(out: &mut Vec<Mark>, taken: &[Mark], name: &str) {
    if out.last().is_some_and(|mark| !mark.c.is_whitespace()) {
        push(out, taken, " ");
    }
    let words: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    if words.is_empty() {
        return;
    }
    push(out, taken, &words.join(" "));
    push(out, taken, " ");
}

/// Names that say of somebody what the picture of a person without it would not, and names of flags.
const PERSONS: &[(&str, &str)] = &[
    ("man", "person"),
    ("woman", "person"),
    ("boy", "child"),
    ("girl", "child"),
    ("old man", "older person"),
    ("old woman", "older person"),
    ("prince", "person with crown"),
    ("princess", "person with crown"),
    ("merman", "merperson"),
    ("mermaid", "merperson"),
    ("pregnant woman", "pregnant person"),
    ("pregnant man", "pregnant person"),
    ("deaf man", "deaf person"),
    ("deaf woman", "deaf person"),
    ("Mrs. Claus", "Mx Claus"),
    ("person wearing turban", "person"),
    ("man wearing turban", "person"),
    ("woman wearing turban", "person"),
    ("person with skullcap", "person"),
    ("woman with headscarf", "person"),
    ("woman and man holding hands", "holding hands"),
    ("women holding hands", "holding hands"),
    ("men holding hands", "holding hands"),
    ("people holding hands", "holding hands"),
    ("men\u{2019}s room", "toilet"),
    ("women\u{2019}s room", "toilet"),
    ("lady beetle", "beetle"),
    ("rainbow flag", "rainbow"),
    ("transgender flag", "transgender"),
    ("pirate flag", "pirate"),
    ("chequered flag", "race"),
    ("crossed flags", ""),
    ("triangular flag", ""),
    ("black flag", ""),
    ("white flag", ""),
];

/// What names of emoji start with for one sex, and how they start for persons.
const SEXES: [(&str, &str); 6] = [
    ("man ", "person"),
    ("woman ", "person"),
    ("men ", "people"),
    ("women ", "people"),
    ("man\u{2019}s ", ""),
    ("woman\u{2019}s ", ""),
];

/// What is said for the emoji of a name. One for a man or a woman is called as the one for a person is.
fn neutral(name: &'static str) -> Cow<'static, str> {
    if let Some((_, said)) = PERSONS.iter().find(|(known, _)| *known == name) {
        return (*said).into();
    }
    // A flag says whose it is, not what is said of them.
    if name.starts_with("flag: ") {
        return "".into();
    }
    // "family: man, boy", "person: red hair".
    if let Some((kind, _)) = name.split_once(':') {
        return if kind == "man" || kind == "woman" { "person" } else { kind }.into();
    }
    let found = SEXES.into_iter().find_map(|(sex, who)| Some((who, name.strip_prefix(sex)?)));
    let Some((who, rest)) = found else { return name.into() };
    // "man bowing" and "man in tuxedo" need somebody, "man health worker" is a health worker.
    let first = rest.split(' ').next().unwrap_or_default();
    let goes_on = !who.is_empty() && (first.ends_with("ing") || matches!(first, "in" | "with"));
    if goes_on { format!("{who} {rest}").into() } else { rest.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_says_more_of_a_person_than_that_it_is_one() {
        for emoji in emojis::iter() {
            let said = neutral(emoji.name());
            assert!(!said.is_empty() || emoji.group() == emojis::Group::Flags);
            let telling = [
                "man",
                "woman",
                "men",
                "women",
                "boy",
                "girl",
                "hair",
                "skin",
                "tone",
                "beard",
                "bald",
                "headscarf",
                "turban",
                "prince",
                "princess",
            ];
            assert!(
                !said.split(|c: char| !c.is_alphanumeric()).any(|word| telling.contains(&word)) || said == "hair pick",
                "{said}"
            );
        }
    }

    #[test]
    fn names_are_those_of_persons() {
        for (name, said) in [
            ("woman technologist", "technologist"),
            ("man bowing", "person bowing"),
            ("women holding hands", "holding hands"),
            ("woman in tuxedo", "person in tuxedo"),
            ("man dancing", "person dancing"),
            ("man: red hair", "person"),
            ("flag: Mexico", ""),
            ("family: man, woman, boy", "family"),
            ("woman\u{2019}s boot", "boot"),
            ("clapping hands", "clapping hands"),
            ("mango", "mango"),
        ] {
            assert_eq!(neutral(name), said);
        }
    }
}
