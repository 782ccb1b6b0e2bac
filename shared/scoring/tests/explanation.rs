//! Whether explanations name the words that people mark, whether the score rests on them, and what they cost.
//!
//! `cargo test --release -p scoring --test explanation -- --ignored --nocapture` prints the tables of EXPLANATION.md.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use std::ops::Range;
use std::path::{Path, PathBuf};

use common::{bundle, cascade, onnx};
use domain::{Span, sha256_hex};
use features::text::folded;
use flate2::read::MultiGzDecoder;
use scoring::onnx::linear_graph;
use scoring::{Explain, Scored, Stage, TextModel};
use serde::Deserialize;

/// The default policy approves below this.
const APPROVED_BELOW: f64 = 0.2;
/// An explanation names this many spans at most, and none below this share of the heaviest one's weight.
const MOST: usize = 5;
const LEAST_SHARE: f64 = 0.2;
/// Agreement with annotators that is asked.
const LEAST_F1: f64 = 0.35;
/// What the tests ask of the model: the Lambda's explanation, and no run of the transformer.
const FORMS: [(&str, usize); 3] =
    [("linear", 0), ("the Lambda's", Explain::AboveApprove.runs()), ("`--explain`", Explain::Always.runs())];

/// A hateful or offensive post of HateXplain's validation part whose annotators marked words.
struct Marked {
    text: String,
    /// Whether at least half of those who marked anything marked the word.
    gold: Vec<bool>,
    /// Whether any of them did.
    union: Vec<bool>,
    /// Whether the rule that leaves out light spans was chosen on it.
    chosen_on: bool,
}

/// The posts, or none without the corpora.
#[expect(clippy::disallowed_methods, reason = "where the corpora are is the machine's business")]
fn marked() -> Option<Vec<Marked>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let file = std::env::var_os("MODERATO_DATA").map_or(here, PathBuf::from).join("hatexplain_val_full.csv.gz");
    let Ok(compressed) = std::fs::File::open(&file) else {
        println!("SKIPPED annotators' rationales: no file {} (MODERATO_DATA)", file.display());
        return None;
    };
    #[derive(Deserialize)]
    struct Row {
        post_id: String,
        text: String,
        label: String,
        rationales: String,
    }
    let mut posts = Vec::new();
    for row in csv::Reader::from_reader(MultiGzDecoder::new(compressed)).deserialize() {
        let row: Row = row.unwrap();
        let by: Vec<Vec<u8>> = serde_json::from_str(&row.rationales).unwrap();
        let words = row.text.split(' ').count();
        if row.label == "normal" || by.is_empty() || by.iter().any(|marks| marks.len() != words) {
            continue;
        }
        let votes: Vec<usize> =
            (0..words).map(|word| by.iter().map(|marks| usize::from(marks[word])).sum::<usize>()).collect();
        posts.push(Marked {
            gold: votes.iter().map(|votes| *votes > 0 && 2 * votes >= by.len()).collect(),
            union: votes.iter().map(|votes| *votes > 0).collect(),
            chosen_on: u32::from_str_radix(&sha256_hex(row.post_id.as_bytes())[63..], 16).unwrap().is_multiple_of(2),
            text: row.text,
        });
    }
    Some(posts)
}

/// Sentences of our own: those of hateful behaviours and those in disguise.
fn own(name: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Behaviour {
        hateful: bool,
        cases: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Pair {
        hateful: String,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Sentences {
        Suite { behaviours: Vec<Behaviour> },
        Evasions { pairs: Vec<Pair> },
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("behaviours").join(name);
    match serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() {
        Sentences::Suite { behaviours } => behaviours.into_iter().filter(|b| b.hateful).flat_map(|b| b.cases).collect(),
        Sentences::Evasions { pairs } => pairs.into_iter().map(|pair| pair.hateful).collect(),
    }
}

/// Places of the words that spaces divide, in Unicode scalar values.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let place = |word: &str| {
        let start = at;
        at += word.chars().count() + 1;
        start..at - 1
    };
    text.split(' ').map(place).filter(|word| !word.is_empty()).collect()
}

/// Which words the spans touch.
fn named(words: &[Range<usize>], spans: &[Span]) -> Vec<bool> {
    words.iter().map(|word| spans.iter().any(|span| span.start < word.end && word.start < span.end)).collect()
}

/// F1 of the words named against those marked.
fn f1(named: &[bool], marked: &[bool]) -> f64 {
    assert_eq!(named.len(), marked.len());
    let count = |words: &[bool]| words.iter().filter(|word| **word).count() as f64;
    let both = named.iter().zip(marked).filter(|(named, marked)| **named && **marked).count() as f64;
    2.0 * both / (count(named) + count(marked)).max(1.0)
}

/// The text of the words for which `keep` holds.
fn only(text: &str, words: &[Range<usize>], keep: impl Fn(usize) -> bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let kept = words.iter().enumerate().filter(|(index, _)| keep(*index));
    kept.map(|(_, word)| chars[word.clone()].iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// By how much the score falls (DeYoung et al. 2020, ERASER).
#[derive(Default, Clone, Copy)]
struct Falls {
    /// Without the words explained: comprehensiveness.
    without: f64,
    /// Without as many others.
    without_others: f64,
    /// With the words explained alone: sufficiency.
    alone: f64,
    /// With as many others alone.
    others_alone: f64,
}

/// `None` where there are fewer other words than explained ones.
fn falls(model: &TextModel, text: &str, scored: &Scored, spans: &[Span], seed: u64) -> Option<Falls> {
    let words = words(text);
    let named = named(&words, spans);
    let (explained, mut others): (Vec<usize>, Vec<usize>) = (0..words.len()).partition(|word| named[*word]);
    if others.len() < explained.len() {
        return None;
    }
    let mut state = seed;
    others.sort_by_cached_key(|_| splitmix(&mut state));
    others.truncate(explained.len());
    let fall = |text: String| scored.calibrated - model.score(&text).unwrap().calibrated;
    Some(Falls {
        without: fall(only(text, &words, |word| !explained.contains(&word))),
        without_others: fall(only(text, &words, |word| !others.contains(&word))),
        alone: fall(only(text, &words, |word| explained.contains(&word))),
        others_alone: fall(only(text, &words, |word| others.contains(&word))),
    })
}

/// Sebastiano Vigna's SplitMix64.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn mean<T>(all: &[T], of: impl Fn(&T) -> f64) -> f64 {
    all.iter().map(of).sum::<f64>() / all.len() as f64
}

/// Share of texts in which the explained words weigh more than the others, texts where both weigh the same left out.
fn share(all: &[Falls]) -> f64 {
    let unequal: Vec<_> = all.iter().filter(|falls| (falls.without - falls.without_others).abs() > 1e-6).collect();
    mean(&unequal, |falls| f64::from(u8::from(falls.without > falls.without_others)))
}

fn assert_faithful(what: &str, all: &[Falls]) {
    let [without, without_others, alone, others_alone] = [
        mean(all, |f| f.without),
        mean(all, |f| f.without_others),
        mean(all, |f| f.alone),
        mean(all, |f| f.others_alone),
    ];
    let share = share(all);
    println!(
        "{what}, {} texts: falls by {without:.3} without the words explained, by {without_others:.3} without others, in {share:.2} by more; by {alone:.3} to them alone, by {others_alone:.3} to others alone",
        all.len()
    );
    assert!(all.len() >= 20, "{what}: too few");
    assert!(without > 2.0 * without_others && without > 0.1, "{what}: {without} against {without_others}");
    assert!(share > 0.75, "{what}: {share}");
    assert!(alone < others_alone - 0.1, "{what}: {alone} against {others_alone}");
}

fn check(text: &str, scored: &Scored, spans: &[Span]) {
    let chars: Vec<char> = text.chars().collect();
    assert!((1..=MOST).contains(&spans.len()), "{} spans", spans.len());
    for (index, span) in spans.iter().enumerate() {
        assert!(scored.window.start <= span.start && span.start < span.end && span.end <= scored.window.end);
        assert!(!chars[span.start].is_whitespace() && !chars[span.end - 1].is_whitespace(), "{span:?}");
        assert!((span.weight * 100.0 - (span.weight * 100.0).round()).abs() < 1e-9);
        assert!(span.weight >= LEAST_SHARE * spans[0].weight && span.weight > 0.0 && span.weight <= spans[0].weight);
        assert!(spans[..index].iter().all(|other| other.end <= span.start || span.end <= other.start), "{spans:?}");
    }
}

#[test]
fn explanations_agree_with_annotators_and_are_what_the_score_rests_on() {
    let Some(posts) = marked() else { return };
    let model = cascade();
    let step = posts.len() / 150;
    let (mut found, mut all) = (Vec::new(), Vec::new());
    for (seed, post) in posts.iter().step_by(step).enumerate() {
        let scored = model.score(&post.text).unwrap();
        if scored.calibrated < APPROVED_BELOW {
            continue;
        }
        let spans =
            [0, Explain::AboveApprove.runs()].map(|runs| model.explain(&post.text, &scored, runs).unwrap().spans);
        spans.iter().for_each(|spans| check(&post.text, &scored, spans));
        found.push(spans.each_ref().map(|spans| f1(&named(&words(&post.text), spans), &post.gold)));
        all.extend(falls(&model, &post.text, &scored, &spans[1], seed as u64));
    }
    assert!(found.len() >= 60, "{} of the posts are above approve", found.len());
    let [linear, occlusion] = [0, 1].map(|form| mean(&found, |found| found[form]));
    println!("token F1 over {} posts: {linear:.3} linear, {occlusion:.3} by occlusion", found.len());
    assert!(linear >= LEAST_F1 && occlusion >= LEAST_F1, "{linear}, {occlusion}");
    assert_faithful("annotated posts", &all);
}

#[test]
fn scores_of_our_own_sentences_rest_on_what_is_explained() {
    let model = cascade();
    let mut all = Vec::new();
    for (seed, text) in own("suite.json").iter().step_by(3).enumerate() {
        let scored = model.score(text).unwrap();
        if scored.calibrated >= APPROVED_BELOW {
            let explained = model.explain(text, &scored, Explain::AboveApprove.runs()).unwrap();
            check(text, &scored, &explained.spans);
            all.extend(falls(&model, text, &scored, &explained.spans, seed as u64));
        }
    }
    assert_faithful("own sentences", &all);
}

#[test]
fn evasions_are_explained_on_the_raw_text() {
    let model = cascade();
    let mut explained = 0;
    for text in own("evasions.json") {
        let scored = model.score(&text).unwrap();
        if scored.calibrated >= APPROVED_BELOW {
            check(&text, &scored, &model.explain(&text, &scored, Explain::AboveApprove.runs()).unwrap().spans);
            explained += 1;
        }
    }
    assert!(explained >= 17, "{explained}");

    // A word that only the folded reading has.
    let mut weights = vec![0.0; 1 << common::NGRAMS.bits];
    let word = features::text::tokenise("worse");
    features::text::ngrams(&word, 0..1, &common::NGRAMS, |n| weights[n.bucket as usize] = 1.0);
    let small = TextModel::load(&onnx(), &bundle(linear_graph(&weights, 0.0), |_| ()), None).unwrap();
    let text = format!("{}all of it is w.o.r.s.e today", "fine ".repeat(40));
    assert!(folded(&text).unwrap().text().contains(" worse "));
    let spans = small.explain(&text, &small.score(&text).unwrap(), 0).unwrap().spans;
    let named: String = text.chars().skip(spans[0].start).take(spans[0].end - spans[0].start).collect();
    assert_eq!(named, "w.o.r.s.e");
}

#[test]
fn an_explanation_stays_within_its_runs() {
    let model = cascade();
    let hateful = "Immigrants are vermin, deport them all, they are subhuman filth.";
    let fine = "we planted tomatoes on the balcony and talked about the weather ".repeat(80);
    let disguised = "Immigrants are v.e.r.m.i.n, d3p0rt them all";
    let many = hateful.repeat(12);
    let texts = [hateful.to_owned(), disguised.to_owned(), many, format!("{fine}{disguised} {fine}")];
    for text in &texts {
        let scored = model.score(text).unwrap();
        assert_eq!(scored.stage, Stage::Transformer);
        for runs in [Explain::AboveApprove.runs(), Explain::Always.runs(), 3] {
            let explained = model.explain(text, &scored, runs).unwrap();
            assert!((2..=runs).contains(&explained.runs), "{} of {runs} runs", explained.runs);
            check(text, &scored, &explained.spans);
        }
        assert_eq!(model.explain(text, &scored, Explain::Always.runs()).unwrap().method, "occlusion");
        // Too few to miss a word.
        for runs in [0, 1] {
            let explained = model.explain(text, &scored, runs).unwrap();
            assert_eq!((explained.method, explained.runs), ("linear", 0));
            check(text, &scored, &explained.spans);
        }
    }
    // The long text is explained where it is hateful.
    let spans = model.explain(&texts[3], &model.score(&texts[3]).unwrap(), Explain::AboveApprove.runs()).unwrap().spans;
    assert!(fine.len() <= spans[0].start && spans[0].end <= fine.len() + disguised.len(), "{spans:?}");

    let scored = model.score(&fine).unwrap();
    assert_eq!(scored.stage, Stage::Linear);
    let explained = model.explain(&fine, &scored, Explain::Always.runs()).unwrap();
    assert_eq!((explained.method, explained.runs), ("linear", 0));
}

#[test]
#[ignore = "prints the tables of EXPLANATION.md; minutes"]
fn table() {
    struct Found {
        chosen_on: bool,
        f1: f64,
        union: f64,
        every_word: f64,
        spans: f64,
        runs: f64,
        falls: Option<Falls>,
    }
    let Some(posts) = marked() else { return };
    let model = cascade();
    let mut found: [Vec<Found>; 3] = Default::default();
    for (seed, post) in posts.iter().enumerate() {
        if seed % 100 == 0 {
            eprintln!("{seed} of {} posts", posts.len());
        }
        let scored = model.score(&post.text).unwrap();
        if scored.calibrated < APPROVED_BELOW {
            continue;
        }
        let words = words(&post.text);
        for (found, (_, runs)) in found.iter_mut().zip(FORMS) {
            let explained = model.explain(&post.text, &scored, runs).unwrap();
            let named = named(&words, &explained.spans);
            found.push(Found {
                chosen_on: post.chosen_on,
                f1: f1(&named, &post.gold),
                union: f1(&named, &post.union),
                every_word: f1(&vec![true; words.len()], &post.gold),
                spans: explained.spans.len() as f64,
                runs: explained.runs as f64,
                falls: falls(&model, &post.text, &scored, &explained.spans, seed as u64),
            });
        }
    }
    println!("\n{} of {} posts are above approve.\n", found[0].len(), posts.len());
    println!("| explanation | token F1 | chosen on | other half | union | every word | spans | runs |");
    println!("|---|---|---|---|---|---|---|---|");
    for ((form, _), found) in FORMS.iter().zip(&found) {
        let (chosen, other): (Vec<_>, Vec<_>) = found.iter().partition(|found| found.chosen_on);
        println!(
            "| {form} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.1} | {:.1} |",
            mean(found, |f| f.f1),
            mean(&chosen, |f| f.f1),
            mean(&other, |f| f.f1),
            mean(found, |f| f.union),
            mean(found, |f| f.every_word),
            mean(found, |f| f.spans),
            mean(found, |f| f.runs),
        );
    }
    println!("\n| explanation | posts | without | without others | by more | alone | others alone |");
    println!("|---|---|---|---|---|---|---|");
    for ((form, _), found) in FORMS.iter().zip(&found) {
        let falls: Vec<Falls> = found.iter().filter_map(|found| found.falls).collect();
        println!(
            "| {form} | {} | {:.3} | {:.3} | {:.2} | {:.3} | {:.3} |",
            falls.len(),
            mean(&falls, |f| f.without),
            mean(&falls, |f| f.without_others),
            share(&falls),
            mean(&falls, |f| f.alone),
            mean(&falls, |f| f.others_alone),
        );
    }
}
