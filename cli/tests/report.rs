//! `moderato evaluate --report`, end to end: one well-formed page that fetches nothing, says what it should and quotes no post.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const CANARY: &str = "kanarienvogel";
const HOSTILE: &str = r#"<script>alert('x')</script>&"#;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/scoring/models/ngram-baseline");

fn moderato(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_moderato")).args(arguments).env_remove("MODERATO_DATA").output().unwrap()
}

/// Rows of two groups, one with a hostile name: half of each positive.
fn rows(folder: &Path) -> PathBuf {
    let mut text = "text,label,group,surface\n".to_owned();
    for n in 0..100 {
        let words = if n % 2 == 0 { "All of them are vermin and deserve to die" } else { "A quiet day in the garden" };
        let group = if n % 4 < 2 { HOSTILE } else { "plain" };
        writeln!(text, "{CANARY} {words} {n},{},{group},{}", 1 - n % 2, ["post", "comment"][n % 3 % 2]).unwrap();
    }
    let path = folder.join("rows.csv");
    fs::write(&path, text).unwrap();
    path
}

/// Fails unless every tag is closed in order, every attribute quoted and every ampersand an entity.
#[track_caller]
fn is_well_formed(page: &str) {
    let body = page.strip_prefix("<!DOCTYPE html>").unwrap();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = body;
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>') || open.last() == Some(&"style"), "a bare > in {:?}", &rest[..start]);
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap());
        }
        rest = &rest[end + 1..];
    }
    assert_eq!(open, Vec::<&str>::new(), "never closed");
    for after in body.split('&').skip(1) {
        let entity = after.split(';').next().unwrap();
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&entity), "&{entity}");
    }
}

#[test]
fn a_report_on_a_file_shows_measures_and_no_post() {
    let folder = tempfile::tempdir().unwrap();
    let (data, page, scores) =
        (rows(folder.path()), folder.path().join("report.html"), folder.path().join("scores.txt"));
    fs::write(&scores, "0.25\n{\"score\": 0.75}\n".repeat(50)).unwrap();
    let (file, model) = (format!("always wrong={}", scores.display()), format!("linear=model:{BASELINE}"));
    let arguments = [
        "evaluate",
        "--data",
        data.to_str().unwrap(),
        "--text-column",
        "text",
        "--positive-when",
        "label=1",
        "--slice",
        "group",
        "--report",
        page.to_str().unwrap(),
        "--beside",
        &file,
        "--beside",
        &model,
        "--json",
    ];
    let output = moderato(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let html = fs::read_to_string(&page).unwrap();
    is_well_formed(&html);
    assert!(!html.contains(CANARY) && !html.contains("vermin") && !html.contains("garden"));
    assert!(!html.contains("<script") && html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;"));
    for fetched in ["http:", "https:", "src=", "url(", "@import", "NaN", "inf<"] {
        assert!(!html.contains(fetched), "{fetched}");
    }
    for said in [
        "Reliability",
        "Precision and recall",
        "Scores by class",
        "Worst slices",
        "Equalised odds",
        "surface = comment",
        "words = 6 to 10",
        "always wrong",
        "buddhists",
    ] {
        assert!(html.contains(said), "nothing about {said}");
    }
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!json.to_string().contains(CANARY));
    assert_eq!((&json["n"], &json["positives"]), (&Value::from(100), &Value::from(50)));
    assert_eq!(json["slices"].as_object().unwrap().keys().collect::<Vec<_>>(), ["group"]);
    assert_eq!(json["sets"][0]["name"], "rows");
    let reliability: u64 =
        json["sets"][0]["reliability"].as_array().unwrap().iter().map(|b| b["positives"].as_u64().unwrap()).sum();
    assert_eq!(reliability, 50);
    let auc = |place: usize| json["beside"][place]["sets"][0]["metrics"]["auc_roc"].as_f64().unwrap();
    assert_eq!(json["beside"][1]["name"], "always wrong");
    assert_eq!((auc(1), json["beside"].as_array().unwrap().len()), (0.0, 3));
    assert!(auc(0) > 0.9 && auc(2) > 0.9, "{} {}", auc(0), auc(2));
    let odds = &json["equalised_odds"][0];
    assert_eq!((&odds["column"], &odds["smallest_group"]), (&Value::from("group"), &Value::from(50)));
    assert_eq!(json["identity_false_positives"]["at_half"]["of"], 1050);
}

#[test]
fn without_a_report_nothing_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path());
    let output = moderato(&[
        "evaluate",
        "--data",
        data.to_str().unwrap(),
        "--text-column",
        "text",
        "--positive-when",
        "label=1",
        "--json",
    ]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "auc_roc",
            "bands",
            "ece",
            "f1",
            "false_positive_rate",
            "macro_f1",
            "model",
            "n",
            "positives",
            "pr_auc",
            "precision",
            "recall",
            "slices"
        ]
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = rows(folder.path());
    let data = data.to_str().unwrap();
    let scores = folder.path().join("scores.txt");
    fs::write(&scores, "0.5\n").unwrap();
    let beside = format!("short={}", scores.display());
    let labelled = ["evaluate", "--data", data, "--text-column", "text", "--positive-when", "label=1"];
    for (arguments, said) in [
        (vec!["evaluate"], "--data"),
        (vec!["evaluate", "--data", data], "--text-column"),
        (vec!["evaluate", "--corpora", "--data", data], "cannot be used with"),
        (vec!["evaluate", "--corpora", folder.path().to_str().unwrap()], "hatexplain_train"),
        ([&labelled[..], &["--beside", "nothing"]].concat(), "give a name and a file of scores"),
        ([&labelled[..], &["--beside", &beside]].concat(), "has 1 scores for 100 rows"),
    ] {
        let output = moderato(&arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(said), "{arguments:?}: {error}");
    }
}
