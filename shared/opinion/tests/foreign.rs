//! Models of somebody else's: what agrees is served, what does not is refused with an error that says what to change.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod tiny;

use std::error::Error;
use std::fs;

use opinion::{Foreign, Reader};
use scoring::{Device, Execution};
use serde_json::{Value, json};
use tempfile::TempDir;
use tiny::{Files, Graph, PLAIN, library, probability};

fn load(folder: &TempDir) -> Result<Foreign, opinion::foreign::ForeignError> {
    Foreign::load(&scoring::init(&library()).unwrap(), folder.path(), Execution::cpu(1), 16)
}

fn written(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.write(folder.path());
    folder
}

/// The model of these files, changed.
fn model(graph: Graph, change: impl FnOnce(&mut Files)) -> Foreign {
    let mut files = Files::of(graph);
    change(&mut files);
    load(&written(&files)).unwrap_or_else(|error| unreachable!("{error}: {:?}", error.source()))
}

/// What is said of these files, changed.
fn refused(change: impl FnOnce(&mut Files)) -> String {
    let mut files = Files::of(PLAIN);
    change(&mut files);
    said(&written(&files))
}

/// The error of a folder, and what caused it.
fn said(folder: &TempDir) -> String {
    let Err(error) = load(folder) else { return "it was loaded".to_owned() };
    let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
    format!("{error}{cause}")
}

fn near(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-5
}

#[test]
fn a_model_that_agrees_gives_its_own_probability() {
    let model = model(PLAIN, |_| {});
    assert_eq!((model.model().name.as_str(), model.most_rows(), model.why_one_row()), ("tiny", 16, None));
    assert_eq!(model.device(), Device::Cpu);
    for words in [&["bad"][..], &["GOOD", "awful", "fine"], &["what", "is", "this"], &[]] {
        let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let opinion = model.read(&words.join(" ")).unwrap();
        assert!(near(opinion.raw, probability(&lower)), "{words:?}: {}", opinion.raw);
        assert_eq!((opinion.raw, opinion.model.sha256.len()), (opinion.calibrated, 64));
    }
}

#[test]
fn neither_padding_nor_truncation_of_the_tokenizers_file_counts() {
    let model = model(PLAIN, |_| {});
    assert_eq!(model.rows("good bad good bad fine awful"), [vec![2, 4, 5, 4, 5, 7, 6, 3]]);
    assert_eq!(model.rows(""), [vec![2, 3]]);
}

#[test]
fn a_long_text_is_read_in_windows_and_the_highest_counts() {
    let model = model(PLAIN, |_| {});
    let text = "good ".repeat(20) + "awful";
    let rows = model.rows(&text);
    assert!(rows.len() > 3 && rows.iter().all(|row| row.len() <= 8 && row[0] == 2 && row.last() == Some(&3)));
    assert!(model.read(&text).unwrap().raw > model.read(&"good ".repeat(20)).unwrap().raw);
    // Windows overlap by a quarter of their content.
    assert_eq!(rows[0][6], rows[1][1]);
    assert_eq!(model.rows(&"good ".repeat(100_000)).len(), 32);
}

#[test]
fn a_row_scores_the_same_beside_longer_ones() {
    for mask in [true, false] {
        let model = model(Graph { mask, ..PLAIN }, |_| {});
        assert_eq!(model.most_rows(), 16);
        let rows: [&[i64]; 4] = [&[2, 6, 3], &[2, 4, 5, 4, 5, 7, 6, 3], &[2, 5, 3], &[2, 3]];
        let together = model.run(&rows).unwrap();
        for (row, together) in rows.iter().zip(&together) {
            let alone = model.run(&[row]).unwrap();
            assert!((alone[0][1] - together[1]).abs() < 1e-5, "mask {mask}: {alone:?} {together:?}");
        }
    }
}

#[test]
fn a_model_whose_scores_depend_on_neighbours_takes_one_row_a_run() {
    let model = model(Graph { quantised: true, ..PLAIN }, |_| {});
    assert_eq!(model.most_rows(), 1);
    assert!(model.why_one_row().unwrap().contains("alone and"), "{:?}", model.why_one_row());
    let one = |files: &mut Files| files.golden = files.golden.split_inclusive(|b| *b == b'\n').next().unwrap().to_vec();
    let model = self::model(PLAIN, one);
    assert!(model.why_one_row().unwrap().contains("one row"));
}

#[test]
fn calibration_language_and_undone_evasions_are_what_the_card_says() {
    let model = model(PLAIN, |files| {
        files.card["calibration"] = json!({ "slope": 2.0, "offset": -1.0 });
        files.card["undo_evasions"] = json!(true);
    });
    let opinion = model.read("bad").unwrap();
    let log_odds = (probability(&["bad"]) / (1.0 - probability(&["bad"]))).ln();
    assert!(near(opinion.calibrated, 1.0 / (1.0 + (1.0 - 2.0 * log_odds).exp())));
    assert!(near(opinion.raw, probability(&["bad"])));
    assert!(model.read("b4d").unwrap().raw > self::model(PLAIN, |_| {}).read("b4d").unwrap().raw);
    assert!(model.supports(None) && model.supports(Some("en-GB")) && !model.supports(Some("de")));
}

#[test]
fn ids_and_lengths_that_the_model_does_not_know_are_codes() {
    let model = model(PLAIN, |_| {});
    for bad in [&[2, 8, 3][..], &[-1]] {
        assert_eq!(model.run(&[&[2, 3], bad]).unwrap_err().code, "id_out_of_range");
    }
    for bad in [&[][..], &[2; 9]] {
        assert_eq!(model.run(&[bad]).unwrap_err().code, "row_of_another_length");
    }
    assert_eq!(model.conclude("", &[]).unwrap_err().code, "no_tokens");
    assert_eq!(model.conclude("", &[vec![0.0, f32::NAN]]).unwrap_err().code, "output_not_finite");
}

#[test]
fn golden_vectors_that_disagree_are_named_by_row_and_numbers_alone() {
    let said = refused(|files| {
        files.golden.extend(br#"{"text":"bad CANARY","probability":0.25,"tolerance":0.001}"#);
    });
    assert_eq!(
        said,
        "row 5 of `golden.jsonl` expects the probability 0.25 within 0.001, `model.onnx` gives 0.777300"
            .replace("0.777300", "0.7773")
    );
    for row in [
        r#"{"text":5}"#,
        r#"{"text":"CANARY"}"#,
        r#"{"text":"CANARY","probability":0.5,"tolerance":0.5}"#,
        r#"{"text":"CANARY","probability":1.5,"tolerance":0.01}"#,
        r#"{"text":"CANARY","probability":0.5,"tolerance":0.01,"CANARY":1}"#,
        "CANARY",
    ] {
        let said = refused(|files| files.golden.extend(row.bytes()));
        assert!(said.starts_with("row 5 of `golden.jsonl` must be") && !said.contains("CANARY"), "{said}");
    }
    assert!(refused(|files| files.golden.clear()).contains("there must be one row"));
}

#[test]
fn a_file_that_is_missing_or_another_one_is_named() {
    for file in ["card.json", "model.onnx", "tokenizer.json", "golden.jsonl"] {
        let folder = written(&Files::of(PLAIN));
        fs::remove_file(folder.path().join(file)).unwrap();
        assert!(said(&folder).starts_with(&format!("reading `{file}`")), "{}", said(&folder));
    }
    for file in ["model.onnx", "tokenizer.json", "golden.jsonl"] {
        let folder = written(&Files::of(PLAIN));
        let mut bytes = fs::read(folder.path().join(file)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(folder.path().join(file), bytes).unwrap();
        assert!(said(&folder).starts_with(&format!("`{file}` has the digest `")), "{}", said(&folder));
    }
}

#[test]
fn a_card_that_asks_for_what_there_is_not_is_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 14] = [
        (|card| card["schema"] = json!("foreign/2"), "`schema` = `foreign/2`"),
        (|card| card["surprise"] = json!(1), "unknown field `surprise`"),
        (|card| card["inputs"]["surprise"] = json!("x"), "unknown field `surprise`"),
        (|card| card["name"] = json!("a b"), "`name` = `a b`"),
        (|card| card["license"] = json!(" "), "`license`"),
        (|card| card["languages"] = json!(["EN"]), "`languages` = `EN`"),
        (|card| card["max_tokens"] = json!(4), "`max_tokens` = `4`"),
        (|card| card["calibration"] = json!({ "slope": -1.0, "offset": 0.0 }), "`calibration` = `-1, 0`"),
        (|card| card["inputs"]["ids"] = json!("ids"), r#"names ["ids", "attention_mask"]"#),
        (|card| card["inputs"]["token_types"] = json!("types"), r#"has the inputs ["input_ids", "attention_mask"]"#),
        (|card| card["output"]["name"] = json!("scores"), r#"has the outputs ["logits"], `card.json` names `scores`"#),
        (|card| card["output"]["index"] = json!(2), "running row 1 of `golden.jsonl`"),
        (|card| card["output"]["activation"] = json!("none"), "row 1 of `golden.jsonl`"),
        (|card| card["output"]["index"] = json!(0), "row 1 of `golden.jsonl` expects"),
    ];
    for (change, expected) in cases {
        let said = refused(|files| change(&mut files.card));
        assert!(said.contains(expected), "{said}");
    }
    assert!(refused(|files| files.model = b"no graph".to_vec()).starts_with("loading `model.onnx`"));
    assert!(refused(|files| files.tokenizer = b"{}".to_vec()).starts_with("reading `tokenizer.json`"));
}
