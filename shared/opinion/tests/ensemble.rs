//! The ensemble of the cascade's members: what it gives, that its three steps are one, and that a text's neighbours change nothing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use opinion::{Ensemble, Reader};
use scoring::{Bundle, Legible, Stage, TextModel};
use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "where the library is, is the machine's business")]
fn library() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
    library
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scoring/models").join(name)
}

fn model(name: &str) -> Arc<TextModel> {
    let onnx = scoring::init(&library()).unwrap();
    Arc::new(TextModel::load(&onnx, &Bundle::read(&folder(name)).unwrap(), None).unwrap())
}

fn ensemble() -> (Arc<TextModel>, Ensemble) {
    let model = model("minilm-cascade");
    let ensemble = Ensemble::new(model.clone()).unwrap();
    (model, ensemble)
}

/// Texts of the card, which has scores for them, as far as they are in English.
fn golden() -> Vec<String> {
    let model = model("minilm-cascade");
    let card: Value =
        serde_json::from_slice(&std::fs::read(folder("minilm-cascade").join("card.json")).unwrap()).unwrap();
    let texts = card["golden"].as_array().unwrap().iter().map(|case| case["text"].as_str().unwrap().to_owned());
    texts.filter(|text| model.reads(text) == Legible::All).collect()
}

/// Many harmless words, and what `middle` says after most of them.
fn long(middle: &str) -> String {
    let calm = "the weather was fine and we walked along the river until it was time for tea ";
    format!("{}{middle} {}", calm.repeat(300), calm.repeat(60))
}

#[test]
fn where_the_cascade_asked_its_transformer_the_score_is_the_same_to_the_last_bit() {
    let (model, ensemble) = ensemble();
    let mut asked = 0;
    for text in golden() {
        let scored = model.score(&text).unwrap();
        let opinion = ensemble.read(&text).unwrap();
        if scored.stage == Stage::Transformer {
            asked += 1;
            assert_eq!((opinion.raw, opinion.calibrated), (scored.raw, scored.calibrated), "{text:?}");
        }
    }
    assert!(asked >= 4, "the transformer was asked about {asked} texts only");
}

#[test]
fn the_transformer_is_asked_where_the_cascade_did_not_ask_it() {
    let (model, ensemble) = ensemble();
    let mut wrong = Vec::new();
    for (text, raw, calibrated) in GOLDEN {
        assert_eq!(model.score(text).unwrap().stage, Stage::Linear, "{text:?}");
        let opinion = ensemble.read(text).unwrap();
        // 8 bits are rounded otherwise where a processor adds floats in another order.
        if (opinion.raw - raw).abs() >= 0.006 || (opinion.calibrated - calibrated).abs() >= 0.004 {
            wrong.push((text, opinion.raw, opinion.calibrated));
        }
        assert_eq!(opinion.raw, (model.transformer_log_odds(text).unwrap().map(sigmoid).unwrap() * 1e6).round() / 1e6);
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Texts with what the transformer says of them, and what both members do.
const GOLDEN: [(&str, f64, f64); 3] = [
    ("the weather was fine and we walked along the river", 0.000057, 0.001565),
    ("Thank you all for the lovely birthday wishes!", 0.000384, 0.003014),
    ("Our library opens at nine on Mondays.", 0.000138, 0.001958),
];

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn rows_run_and_conclude_are_what_reading_does_and_neighbours_change_nothing() {
    let (_, ensemble) = ensemble();
    assert_eq!(ensemble.most_rows(), 1);
    let texts = golden();
    let rows: Vec<Vec<Vec<i64>>> = texts.iter().map(|text| ensemble.rows(text)).collect();
    let together: Vec<&[i64]> = rows.iter().flatten().map(Vec::as_slice).collect();
    let mut outputs = ensemble.run(&together).unwrap().into_iter();
    for (text, rows) in texts.iter().zip(&rows) {
        let outputs: Vec<Vec<f32>> = outputs.by_ref().take(rows.len()).collect();
        assert_eq!(ensemble.conclude(text, &outputs).unwrap(), ensemble.read(text).unwrap(), "{text:?}");
    }
    assert!(outputs.next().is_none());
}

#[test]
fn outputs_of_other_rows_are_refused_and_so_is_what_is_no_number() {
    let (_, ensemble) = ensemble();
    let text = "k i l l all the people";
    let outputs = ensemble.run(&ensemble.rows(text).iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    assert!(outputs.len() >= 2, "a plain reading and a folded one");
    let with_last = |last: Vec<f32>| [&outputs[..outputs.len() - 1], &[last]].concat();
    for (wrong, code) in [
        (vec![], "other_rows"),
        (outputs[..1].to_vec(), "other_rows"),
        (with_last(vec![]), "other_rows"),
        (with_last(vec![f32::NAN]), "not_finite"),
    ] {
        let error = ensemble.conclude(text, &wrong).unwrap_err();
        assert_eq!((error.code.as_str(), error.model.as_str()), (code, "minilm-cascade-ensemble@1"));
    }
}

#[test]
fn one_bad_window_of_a_long_text_counts_and_no_length_takes_more_than_288_rows() {
    let (model, ensemble) = ensemble();
    let bad = "kill all the muslims, they are vermin";
    let text = long(bad);
    assert!(model.rows(&text, usize::MAX).unwrap().len() > 32);
    assert!(ensemble.rows(&text).len() <= 288);
    let [found, calm] = [ensemble.read(&text).unwrap(), ensemble.read(&long("")).unwrap()];
    assert!(found.calibrated > 0.5 && calm.calibrated < 0.1, "{} and {}", found.calibrated, calm.calibrated);
}

#[test]
fn twice_as_many_windows_as_the_cascade_reads_are_read() {
    let (model, ensemble) = ensemble();
    let text = long("");
    let cascade = model.transformer_inputs(&text).unwrap();
    assert!(cascade.len() > 16);
    assert_eq!(ensemble.rows(&text).len(), 16);
}

#[test]
fn it_speaks_the_languages_of_its_model_and_has_a_name_of_its_own() {
    let (model, ensemble) = ensemble();
    assert!(ensemble.supports(Some("en-GB")) && ensemble.supports(None) && !ensemble.supports(Some("de")));
    let identity = ensemble.model();
    assert_eq!((identity.name.as_str(), identity.version.as_str()), ("minilm-cascade-ensemble", "1"));
    assert_eq!(identity.sha256.len(), 64);
    assert_ne!(identity.sha256, model.identity().sha256);
    assert_eq!(ensemble.read("").unwrap().model, *identity);
}

#[test]
fn a_model_without_a_transformer_is_refused() {
    let error = Ensemble::new(model("ngram-baseline")).err().unwrap();
    assert!(error.to_string().contains("no transformer"), "{error}");
}
