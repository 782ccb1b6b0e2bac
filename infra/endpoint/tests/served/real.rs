//! Real models behind HTTP: the scores are those of the models alone.

use std::sync::Arc;

use domain::sha256_hex;
use endpoint::npy::{Ids, read_floats, write_ids};
use endpoint::{Config, Server, models};
use opinion::{Ensemble, Reader};
use scoring::{Bundle, TextModel};
use serde_json::{Value, json};

use crate::client::Client;
use crate::fakes::{scores, texts_of};
use crate::process::cascade;
use crate::tiny::{Files, Graph, PLAIN, library, probability};

fn config(model: &std::path::Path, more: &[&str]) -> Config {
    let (model, library) = (model.display().to_string(), library().display().to_string());
    let fixed = ["--model", &model, "--onnxruntime", &library, "--bind", "127.0.0.1:0", "--workers", "2"];
    Config::of(&[&fixed, more].concat())
}

/// Texts of the behaviours that are committed, and some that are long.
fn texts() -> Vec<String> {
    let suite = std::fs::read(cascade().join("../../behaviours/suite.json")).unwrap();
    let suite: Value = serde_json::from_slice(&suite).unwrap();
    let mut texts = Vec::new();
    collect(&suite, &mut texts);
    assert!(texts.len() > 100, "{}", texts.len());
    let long = texts.join(" ");
    for characters in [2_000, 3_000, 20_000] {
        texts.push(long.chars().take(characters).collect());
    }
    texts.push(String::new());
    texts
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains(' ') => texts.push(text.clone()),
        Value::Array(all) => all.iter().for_each(|value| collect(value, texts)),
        Value::Object(all) => all.values().for_each(|value| collect(value, texts)),
        _ => {}
    }
}

#[test]
fn our_models_score_as_they_do_alone_to_the_last_bit() {
    let config = config(&cascade(), &["--max-queue", "4096", "--max-queue-ms", "600000"]);
    let loaded = models::load(&config).unwrap();
    let onnx = scoring::init(&library()).unwrap();
    let bundle = Bundle::read(&cascade()).unwrap();
    let model = Ensemble::new(Arc::new(TextModel::load(&onnx, &bundle, None).unwrap())).unwrap();
    assert_eq!((loaded.reader.most_rows(), loaded.reader.model()), (1, model.model()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::bind(&config)).unwrap();
    server.app.serve(loaded).unwrap();
    let mut client = Client::connect(server.address()).unwrap();
    let texts = texts();
    for texts in texts.chunks(64) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let answer = client.post("application/json", &texts_of(&texts)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        for (text, prediction) in texts.iter().zip(body["predictions"].as_array().unwrap()) {
            let found = &prediction["text"];
            match model.read(text) {
                Ok(scored) => assert_eq!(
                    (&found["ok"]["raw"], &found["ok"]["calibrated"]),
                    (&json!(scored.raw), &json!(scored.calibrated))
                ),
                // What has too few words that the model knows is taken for another language, here and there alike.
                Err(error) => assert_eq!(found["error"], error.code, "{found}"),
            }
        }
    }
}

#[test]
fn a_model_of_theirs_is_served_as_text_and_as_ids() {
    for graph in [PLAIN, Graph { quantised: true, ..PLAIN }] {
        let folder = tempfile::tempdir().unwrap();
        Files::of(graph).write(folder.path());
        let config = config(folder.path(), &[]);
        let loaded = models::load(&config).unwrap();
        assert_eq!(loaded.reader.most_rows(), if graph.quantised { 1 } else { 64 });
        assert_eq!(loaded.reader.model().sha256, sha256_hex(&std::fs::read(folder.path().join("card.json")).unwrap()));
        let alone = Arc::clone(&loaded.reader);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = runtime.block_on(Server::bind(&config)).unwrap();
        server.app.serve(loaded).unwrap();
        let mut client = Client::connect(server.address()).unwrap();
        let answer = client.post("application/json", &texts_of(&["bad", "awful good", "fine fine"])).unwrap();
        for (found, words) in scores(&answer).iter().zip([&["bad"][..], &["awful", "good"], &["fine", "fine"]]) {
            let difference = (found.as_f64().unwrap() - probability(words)).abs();
            assert!(difference < if graph.quantised { 0.05 } else { 1e-5 }, "{words:?}: {difference}");
        }
        // The second row ends with pads, as a client that pads sends it.
        let ids = Ids { rows: 2, length: 4, ids: vec![2, 4, 5, 3, 2, 6, 3, 0] };
        let answer = client.post("application/x-npy", &write_ids(&ids)).unwrap();
        let rows = read_floats(&answer.body, 2, 2).unwrap();
        let expected = alone.run(&[&[2, 6, 3]]).unwrap();
        assert!((rows[1][1] - expected[0][1]).abs() < 1e-5 || graph.quantised, "{rows:?} {expected:?}");
        let bad = Ids { rows: 1, length: 2, ids: vec![2, 8] };
        assert_eq!(client.post("application/x-npy", &write_ids(&bad)).unwrap().status, 400);
    }
}
