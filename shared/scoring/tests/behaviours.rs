//! What the bundled model makes of sentences of our own: behaviours with a floor each, and evasions with harmless twins.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use std::collections::{BTreeMap, HashSet};

use common::{cascade, read};
use serde::Deserialize;

/// A score of this or more says hateful.
const HATEFUL_FROM: f64 = 0.5;
/// The default policy approves below this.
const APPROVED_BELOW: f64 = 0.2;
/// Of sentences about groups that were held out of training, this share may score as hateful.
const IDENTITY_FALSE_POSITIVES: f64 = 0.15;

#[derive(Deserialize)]
struct Suite {
    behaviours: Vec<Behaviour>,
}

#[derive(Deserialize)]
struct Behaviour {
    name: String,
    hateful: bool,
    floor: f64,
    cases: Vec<String>,
}

#[derive(Deserialize)]
struct Evasions {
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    trick: String,
    hateful: String,
    harmless: String,
}

#[derive(Deserialize)]
struct HeldOut {
    terms: Vec<BTreeMap<String, String>>,
    templates: Vec<String>,
}

#[test]
fn every_behaviour_is_above_its_floor() {
    let suite: Suite = read("suite.json");
    let model = cascade();
    let mut below = Vec::new();
    for Behaviour { name, hateful, floor, cases } in &suite.behaviours {
        let right = |text: &&String| (model.score(text).unwrap().calibrated >= HATEFUL_FROM) == *hateful;
        let accuracy = cases.iter().filter(right).count() as f64 / cases.len() as f64;
        println!("{accuracy:5.2} of {:3}, floor {floor:.2}  {name}", cases.len());
        if accuracy < *floor {
            below.push(format!("{name} {accuracy:.2}"));
        }
    }
    assert!(below.is_empty(), "below their floor: {below:?}");
}

#[test]
fn the_suite_is_well_formed() {
    let suite: Suite = read("suite.json");
    let (mut names, mut texts) = (HashSet::new(), HashSet::new());
    assert!(suite.behaviours.len() >= 30);
    for behaviour in &suite.behaviours {
        assert!(names.insert(&behaviour.name), "{} stands twice", behaviour.name);
        assert!(behaviour.cases.len() >= 14, "{} has too few cases", behaviour.name);
        assert!((0.42..=1.0).contains(&behaviour.floor), "{}'s floor", behaviour.name);
        assert!(behaviour.cases.iter().all(|text| texts.insert(text)), "{} repeats a case", behaviour.name);
    }
}

/// Prints the pairs that are decided otherwise. How many are not approved, and how many twins are.
fn decided(evasions: &Evasions) -> (usize, usize) {
    let model = cascade();
    let (mut caught, mut let_through) = (0, 0);
    for Pair { trick, hateful, harmless } in &evasions.pairs {
        let reads = |text: &str| model.reads(text) == scoring::Legible::All;
        let [bad, good] = [hateful, harmless].map(|text| model.score(text).unwrap().calibrated);
        let is_caught = bad >= APPROVED_BELOW || !reads(hateful);
        let is_let_through = good < APPROVED_BELOW && reads(harmless);
        caught += usize::from(is_caught);
        let_through += usize::from(is_let_through);
        if !(is_caught && is_let_through) {
            println!("{bad:.3} {good:.3}  {trick}: {hateful:?}, {harmless:?}");
        }
    }
    println!("{caught} of {} are not approved, {let_through} of their twins are", evasions.pairs.len());
    (caught, let_through)
}

#[test]
fn evasions_are_not_approved_and_their_harmless_twins_are() {
    let evasions: Evasions = read("evasions.json");
    assert_eq!(evasions.pairs.len(), 20);
    let (caught, let_through) = decided(&evasions);
    assert!(caught >= 18 && let_through >= 19);
}

/// Ten kinds of tricks, five ways each. Two pairs of one kind were mended after they had been measured here.
#[test]
fn fifty_more_evasions_are_not_approved_and_their_twins_are() {
    let evasions: Evasions = read("evasions_more.json");
    assert_eq!(evasions.pairs.len(), 50);
    let (caught, let_through) = decided(&evasions);
    assert!(caught >= 48 && let_through >= 45);
}

#[test]
fn groups_that_no_training_named_are_not_taken_for_hate() {
    let held_out: HeldOut = read("held_out.json");
    let model = cascade();
    let (mut all, mut positive) = (0_usize, 0_usize);
    for term in &held_out.terms {
        let before = positive;
        for template in &held_out.templates {
            let text = [("{g}", "plural"), ("{s}", "singular"), ("{a}", "adjective")]
                .iter()
                .fold(template.clone(), |text, (place, form)| text.replace(place, &term[*form]));
            all += 1;
            positive += usize::from(model.score(&text).unwrap().calibrated >= HATEFUL_FROM);
        }
        println!("{:3} of {}  {}", positive - before, held_out.templates.len(), term["plural"]);
    }
    let share = positive as f64 / all as f64;
    println!("{share:.3} of {all} neutral and positive sentences score as hateful");
    assert!(share <= IDENTITY_FALSE_POSITIVES, "{share:.3}");
}

#[test]
fn one_hateful_sentence_in_a_very_long_post_is_found() {
    let model = cascade();
    let talk = "We went to the market and bought bread, cheese and a bag of apples for the whole week. ".repeat(2_000);
    let (first, second) = talk.split_at(talk.len() / 2);
    let harmless = model.score(&talk).unwrap().calibrated;
    let hateful = model.score(&format!("{first} Muslims are filthy vermin, kill them all. {second}")).unwrap();
    assert!(harmless < HATEFUL_FROM && hateful.calibrated >= HATEFUL_FROM, "{harmless}, {}", hateful.calibrated);
    assert_eq!(hateful.stage, scoring::Stage::Transformer);
}
