//! What is read and what is not: tones of skin say nothing, and a language that is not learned is not taken for harmless English.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{CODE, POEM, RECIPE, SENTENCES, cascade, read};
use scoring::Legible;
use serde::Deserialize;

/// The default policy approves below this.
const APPROVED_BELOW: f64 = 0.2;

#[derive(Deserialize)]
struct Languages {
    sentences: BTreeMap<String, Vec<String>>,
}

#[test]
fn a_tone_of_skin_changes_no_score() {
    let model = cascade();
    let emoji = "👋🤚🖐✋🖖👌🤌🤏✌🤞🤟🤘🤙👈👉👆👇☝👍👎✊👊🤛🤜👏🙌👐🤲🙏💪🦵🦶👂👃👶🧒🧑👵";
    assert_eq!(emoji.chars().count(), 38);
    let sentences = [
        "Great job {}",
        "See you tomorrow {}",
        "My grandson {}",
        "{} hello team",
        "Thanks a lot {}!",
        "What a goal {}",
        "Dinner is ready {}",
        "{} happy birthday",
        "On my way {}",
        "Good night everyone {}",
    ];
    let mut not_approved = 0;
    for sign in emoji.chars() {
        for sentence in sentences {
            let of = |sign: String| model.score(&sentence.replace("{}", &sign)).unwrap();
            let plain = of(sign.to_string());
            for tone in ['\u{1f3fb}', '\u{1f3fc}', '\u{1f3fd}', '\u{1f3fe}', '\u{1f3ff}'] {
                assert_eq!(of(format!("{sign}{tone}")).calibrated, plain.calibrated, "{sign}{tone} in {sentence}");
            }
            not_approved += usize::from(plain.calibrated >= APPROVED_BELOW);
        }
    }
    println!("{not_approved} of 380 not approved");
    assert!(not_approved <= 19, "{not_approved} of 380");
}

#[test]
fn a_language_that_is_not_learned_is_not_approved() {
    let model = cascade();
    let languages: Languages = read("languages.json");
    let (mut approved, mut all) = (0, 0);
    for (language, sentences) in &languages.sentences {
        assert!(sentences.len() >= 20, "{language}");
        let read = |text: &&String| {
            model.reads(text) == Legible::All && model.score(text).unwrap().calibrated < APPROVED_BELOW
        };
        let passed: Vec<_> = sentences.iter().filter(read).collect();
        println!("{language}: {} of {} approved {passed:?}", passed.len(), sentences.len());
        approved += passed.len();
        all += sentences.len();
        let hidden_in_english = format!("Good morning everyone! {}. Have a nice day", sentences[0]);
        assert_ne!(model.reads(&hidden_in_english), Legible::All, "{hidden_in_english}");
    }
    assert!(approved * 20 <= all, "{approved} of {all}");
}

#[test]
fn english_is_read() {
    let model = cascade();
    for sentence in SENTENCES.iter().chain(&POEM).chain(&[
        RECIPE,
        CODE,
        "ok",
        "lol",
        "GG wp",
        "brb",
        "¯\\_(ツ)_/¯",
        "😀😀😀",
        "",
        "Zoë's café",
        "NYC 2026",
        "hahahaha",
        "Trump 2028!!",
    ]) {
        assert_eq!(model.reads(sentence), Legible::All, "{sentence}");
    }
}
