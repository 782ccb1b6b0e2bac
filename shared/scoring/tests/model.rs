//! The loaded model: what it refuses, and that a score depends on nothing but the text.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use std::path::Path;

use common::{NGRAMS, baseline, bundle, cascade, model, onnx};
use domain::Span;
use features::text::{View, ngrams, tokenise};
use scoring::onnx::linear_graph;
use scoring::{Bundle, LoadError, ScoreError, TextModel};
use serde_json::Value;

/// A graph in which the given words have the given weight by themselves, and nothing else has any.
fn graph(words: &[(&str, f32)]) -> Vec<u8> {
    let mut weights = vec![0.0; 1 << NGRAMS.bits];
    for (word, weight) in words {
        let text = tokenise(word);
        ngrams(&text, 0..text.tokens().len(), &NGRAMS, |n| {
            if n.view == View::Word {
                weights[n.bucket as usize] = *weight;
            }
        });
    }
    linear_graph(&weights, 0.5)
}

/// What the linear graph says.
fn explained(model: &TextModel, text: &str) -> Vec<Span> {
    model.explain(text, &model.score(text).unwrap(), 0).unwrap().spans
}

fn refusal(bundle: &Bundle) -> LoadError {
    TextModel::load(&onnx(), bundle, None).unwrap_err()
}

#[test]
fn the_committed_model_gives_the_scores_on_its_card() {
    let card: Value = serde_json::from_slice(&std::fs::read(baseline().join("card.json")).unwrap()).unwrap();
    let model = model();
    assert_eq!(card["model"]["sha256"], model.identity().sha256);
    assert_eq!(model.harm(), "hate");
    let golden = card["golden"].as_array().unwrap();
    assert_eq!(golden.len(), 12);
    for case in golden {
        let text = case["text"].as_str().unwrap();
        let scored = model.score(text).unwrap();
        // Another processor may round the last of six places differently.
        for (name, found) in [("raw", scored.raw), ("calibrated", scored.calibrated)] {
            assert!((found - case[name].as_f64().unwrap()).abs() < 1.5e-6, "{name} of {text:?} is {found}");
        }
    }
    let bytes: u64 = std::fs::read_dir(baseline()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= 3 << 20, "the folder has {bytes} bytes, 3 MiB at most");
}

#[test]
fn the_model_that_ships_gives_the_scores_on_its_card() {
    let folder = baseline().with_file_name("minilm-cascade");
    let card: Value = serde_json::from_slice(&std::fs::read(folder.join("card.json")).unwrap()).unwrap();
    let model = cascade();
    assert_eq!(card["model"]["sha256"], model.identity().sha256);
    let golden = card["golden"].as_array().unwrap();
    assert_eq!(golden.len(), 12);
    for case in golden {
        let text = case["text"].as_str().unwrap();
        let scored = model.score(text).unwrap();
        // 8 bits are rounded otherwise where a processor adds floats in another order.
        for (name, found) in [("raw", scored.raw), ("calibrated", scored.calibrated)] {
            assert!((found - case[name].as_f64().unwrap()).abs() < 0.02, "{name} of {text:?} is {found}");
        }
    }
}

#[test]
fn what_only_look_alikes_spell_is_read_as_what_it_looks_like() {
    let model = cascade();
    for (disguised, shown) in [
        ("W\u{43e}m\u{435}n \u{430}r\u{435} gr\u{435}\u{430}t \u{430}uth\u{43e}rs", "Women are great authors"),
        ("G\u{430}s \u{430}ll th\u{435} J\u{435}ws", "Gas all the Jews"),
    ] {
        let [disguised, shown] = [disguised, shown].map(|text| model.transformer_log_odds(text).unwrap());
        assert_eq!(disguised, shown, "{shown:?} in disguise");
    }
}

#[test]
fn a_score_is_the_sum_of_weights_calibrated_and_rounded() {
    let model = TextModel::load(&onnx(), &bundle(graph(&[("bad", 3.0)]), |_| ()), None).unwrap();
    // "bad day" has three n-grams of words, each of value 1/sqrt(3).
    let log_odds = 0.5 + 3.0 * f64::from((1.0_f64 / 3.0_f64.sqrt()) as f32);
    assert!((model.log_odds("Bad day").unwrap() - log_odds).abs() < 1e-6);
    let six = |x: f64| (1e6 / (1.0 + (-x).exp())).round() / 1e6;
    let scored = model.score("Bad day").unwrap();
    assert_eq!((scored.raw, scored.calibrated, scored.window), (six(log_odds), six(2.0 * log_odds - 1.0), 0..7));
    let empty = model.score("").unwrap();
    assert_eq!((empty.raw, empty.calibrated, empty.window), (six(0.5), six(0.0), 0..0));
}

#[test]
fn a_text_scores_the_same_alone_and_among_others() {
    let texts: Vec<String> = (0..200).map(|i| format!("post {i} about muslims, women and {} cats", i * 7)).collect();
    let bits = |m: &TextModel, t: &String| m.score(t).map(|s| (s.raw.to_bits(), s.calibrated.to_bits())).unwrap();
    let shared = model();
    let alone: Vec<_> = texts.iter().map(|text| bits(&shared, text)).collect();
    let fresh = model();
    let backwards: Vec<_> = texts.iter().rev().map(|text| bits(&fresh, text)).collect();
    assert!(alone.iter().eq(backwards.iter().rev()));
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| texts.iter().map(|text| bits(&shared, text)).collect::<Vec<_>>())).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

#[test]
fn of_a_long_text_the_worst_window_counts_and_is_explained() {
    let model = TextModel::load(&onnx(), &bundle(graph(&[("bad", 3.0), ("worse", 4.0)]), |_| ()), None).unwrap();
    let filler = "fine ".repeat(40);
    let text = format!("{filler}bad {filler}é worse {filler}");
    let start = text.chars().count() - filler.len() - 6;
    let scored = model.score(&text).unwrap();
    assert!(scored.window.contains(&start));
    assert!(scored.calibrated > model.score(&filler).unwrap().calibrated);
    let spans = explained(&model, &text);
    assert_eq!(spans.len(), 1);
    assert_eq!((spans[0].start, spans[0].end), (start, start + 5));
    // Alone in the window its share is all but the offset, times the slope of two.
    let share = 2.0 * (model.log_odds(&text).unwrap() - 0.5);
    assert!((spans[0].weight - share).abs() < 0.006);
}

#[test]
fn an_explanation_names_the_heaviest_words_first_and_five_at_most() {
    let words =
        [("one", 1.0), ("two", 2.0), ("three", 3.0), ("four", 4.0), ("five", 5.0), ("six", 6.0), ("nice", -9.0)];
    let model = TextModel::load(&onnx(), &bundle(graph(&words), |_| ()), None).unwrap();
    let text = "ONE two three nice four five six";
    let spans = explained(&model, text);
    let named: Vec<&str> = spans.iter().map(|s| &text[s.start..s.end]).collect();
    assert_eq!(named, ["six", "five", "four", "three", "two"]);
    assert!(spans.iter().all(|s| s.weight > 0.0 && (s.weight * 100.0).fract().abs() < 1e-9));
    assert_eq!(explained(&model, ""), []);
}

#[test]
fn a_language_counts_by_its_primary_subtag() {
    let model = TextModel::load(&onnx(), &bundle(graph(&[]), |_| ()), None).unwrap();
    for supported in [None, Some("en"), Some("EN-gb"), Some("de_AT"), Some("eng"), Some("und"), Some("")] {
        assert!(model.supports(supported), "{supported:?}");
    }
    for other in ["fr", "deu", "unde", "x-en"] {
        assert!(!model.supports(Some(other)), "{other}");
    }
}

#[test]
fn bytes_that_were_changed_are_refused() {
    let good = bundle(graph(&[("bad", 3.0)]), |_| ());
    let onnx = onnx();
    let digest = good.sha256();
    assert_eq!(TextModel::load(&onnx, &good, Some(&digest)).unwrap().identity().sha256, digest);
    let wrong = "0".repeat(64);
    let error = TextModel::load(&onnx, &good, Some(&wrong)).unwrap_err();
    assert!(matches!(error, LoadError::Digest { part: "manifest", .. }), "{error:?}");
    let mut changed = good;
    let middle = changed.model.len() / 2;
    changed.model[middle] ^= 1;
    let error = TextModel::load(&onnx, &changed, Some(&digest)).unwrap_err();
    assert!(matches!(error, LoadError::Digest { part: "graph", .. }), "{error:?}");
}

#[test]
fn a_model_that_is_not_what_it_says_is_refused() {
    let garbage = bundle(b"not a graph".to_vec(), |_| ());
    assert!(matches!(refusal(&garbage), LoadError::Graph(_)));
    let short = bundle(linear_graph(&[0.0; 100], 0.0), |_| ());
    assert!(matches!(refusal(&short), LoadError::Trial(ScoreError::Run(_))));
    let infinite = bundle(linear_graph(&vec![0.0; 1 << NGRAMS.bits], f64::INFINITY), |_| ());
    assert!(matches!(refusal(&infinite), LoadError::Trial(ScoreError::NotFinite)));
    let no_json = Bundle { manifest: b"{".to_vec(), model: Vec::new(), more: std::collections::BTreeMap::new() };
    assert!(matches!(refusal(&no_json), LoadError::Manifest(_)));
    let field = |change: fn(&mut scoring::Manifest)| match refusal(&bundle(graph(&[]), change)) {
        LoadError::Unsupported { field, .. } => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(|m| m.schema = "model/9".to_owned()), "schema");
    assert_eq!(field(|m| m.kind = "transformer".to_owned()), "kind");
    assert_eq!(field(|m| m.model.file = "../model.onnx".to_owned()), "model.file");
    assert_eq!(field(|m| m.ngrams.bits = 60), "ngrams");
    assert_eq!(field(|m| m.calibration.slope = -1.0), "calibration.slope");
}

#[test]
fn a_folder_without_a_model_is_an_error_that_names_the_file() {
    let error = Bundle::read(Path::new("no/such/folder")).unwrap_err();
    assert!(error.to_string().contains("no/such/folder/manifest.json"), "{error}");
}

#[test]
fn rows_run_and_conclude_give_the_score_of_the_transformer() {
    let model = cascade();
    for text in
        ["Gas all the Jews", "W\u{43e}men \u{430}re gre\u{430}t \u{430}uthors", "kill all the muslims, they are vermin"]
    {
        let rows = model.rows(text, 8).unwrap();
        let whole: Vec<_> = rows.iter().filter(|row| !row.part).map(|row| row.ids.clone()).collect();
        assert_eq!(whole, model.transformer_inputs(text).unwrap());
        let log_odds: Vec<f64> = rows.iter().map(|row| model.run(&row.ids).unwrap()[0]).collect();
        let concluded = model.conclude(text, &rows, &log_odds).unwrap();
        if model.score(text).unwrap().stage == scoring::Stage::Transformer {
            assert_eq!(concluded, model.score(text).unwrap());
        }
        assert!(matches!(model.conclude(text, &rows, &[]), Err(ScoreError::OtherRows)));
    }
}

#[test]
fn a_linear_model_has_no_rows_to_run() {
    let model = model();
    assert!(model.rows("a text", 8).unwrap().is_empty());
    assert!(matches!(model.conclude("a text", &[], &[]), Err(ScoreError::OtherRows)));
}
