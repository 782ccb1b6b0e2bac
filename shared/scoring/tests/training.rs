//! From examples to a model that scores, on sentences made up here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use common::{NGRAMS, WINDOW, bundle, onnx};
use scoring::calibration::fit_platt;
use scoring::metrics::{Outcome, measure};
use scoring::onnx::linear_graph;
use scoring::train::{Examples, LinearWeights, TrainConfig, train};
use scoring::{Calibration, TextModel};

const CONFIG: TrainConfig =
    TrainConfig { l2: 1e-3, iterations: 40, balance: 0.5, log_count_ratio: Some(1.0), least_examples: 2 };

/// Sentences in which one word in eight decides, one in six of them with the wrong answer.
fn sentences(from: usize, count: usize) -> Vec<(String, bool)> {
    let subjects = ["Gardens", "Trains", "Teachers", "Neighbours", "Cooks"];
    let verdicts = ["awful", "lovely", "pleasant", "useful", "funny", "clean", "quiet", "rotten"];
    let ends = ["in winter", "at night", "near the station", "these days", "as ever", "on Mondays", "if you ask me"];
    (from..from + count)
        .map(|i| {
            let verdict = verdicts[(i * 5) % 8];
            let wrong = i % 6 == 0;
            let text = format!("{} {i} are {verdict} {}", subjects[i % 5], ends[i % 7]);
            (text, (verdict == "awful" || verdict == "rotten") != wrong)
        })
        .collect()
}

fn learn(config: &TrainConfig) -> LinearWeights {
    let mut examples = Examples::default();
    for (text, positive) in sentences(0, 800) {
        examples.push(&text, positive, 1.0, &NGRAMS, &WINDOW);
    }
    let mut losses = Vec::new();
    let trained = train(&examples, NGRAMS.bits, config, |_, loss| losses.push(loss)).unwrap();
    assert!(losses.windows(2).all(|pair| pair[1] <= pair[0]), "the loss rose");
    assert_eq!(losses.len(), trained.iterations);
    trained
}

#[test]
fn a_model_learns_the_words_that_decide_and_is_calibrated() {
    let trained = learn(&CONFIG);
    let graph = linear_graph(&trained.weights, trained.bias);
    let neutral = Calibration { slope: 1.0, offset: 0.0 };
    let model = TextModel::load(&onnx(), &bundle(graph.clone(), |m| m.calibration = neutral), None).unwrap();
    let held = sentences(10_000, 600);
    let log_odds: Vec<f64> = held.iter().map(|(text, _)| model.log_odds(text).unwrap()).collect();
    let answers: Vec<bool> = held.iter().map(|(_, positive)| *positive).collect();
    let calibration = fit_platt(&log_odds, &answers).unwrap();
    let model = TextModel::load(&onnx(), &bundle(graph, |m| m.calibration = calibration), None).unwrap();
    let outcomes: Vec<Outcome> = held
        .iter()
        .map(|(text, positive)| Outcome { score: model.score(text).unwrap().calibrated, positive: *positive })
        .collect();
    let metrics = measure(&outcomes, 0.5);
    // A sixth of the answers is wrong: no model can do better than five sixths.
    assert!((metrics.recall.unwrap() - 0.625).abs() < 0.05, "{metrics:?}");
    assert!((metrics.precision.unwrap() - 0.833).abs() < 0.05, "{metrics:?}");
    assert!(metrics.ece.unwrap() < 0.03, "{metrics:?}");
    let text = "Cooks 77 are rotten at night";
    let spans = model.explain(text, &model.score(text).unwrap(), 0).unwrap().spans;
    assert_eq!((spans[0].start, spans[0].end), (13, 19));
}

#[test]
fn training_again_gives_the_same_bytes() {
    let bytes = || {
        let trained = learn(&CONFIG);
        linear_graph(&trained.weights, trained.bias)
    };
    assert!(bytes() == bytes());
}

#[test]
fn balance_lifts_the_rare_class_and_rare_buckets_get_no_weight() {
    let plain = learn(&TrainConfig { balance: 0.0, ..CONFIG });
    let balanced = learn(&TrainConfig { balance: 1.0, ..CONFIG });
    assert!(balanced.bias > plain.bias);
    let weighted = |trained: &LinearWeights| trained.weights.iter().filter(|w| **w != 0.0).count();
    let everything = learn(&TrainConfig { least_examples: 1, ..CONFIG });
    assert!(weighted(&plain) < weighted(&everything));
}

#[test]
fn one_class_alone_trains_nothing() {
    let mut examples = Examples::default();
    assert!(train(&examples, NGRAMS.bits, &CONFIG, |_, _| ()).is_none());
    examples.push("only one", true, 1.0, &NGRAMS, &WINDOW);
    assert!(train(&examples, NGRAMS.bits, &CONFIG, |_, _| ()).is_none());
}
