//! Law 8 at the command line: what posts and rows say is in no answer and no error.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const CANARY: &str = "kanarienvogel";

fn moderato(arguments: &[&str], input: &[u8]) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_moderato"))
        .args(arguments)
        .env("RUST_BACKTRACE", "full")
        .env("RUST_LOG", "trace")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // It may have ended before it has read everything.
    let _ = stdin.write_all(input);
    drop(stdin);
    process.wait_with_output().unwrap()
}

#[track_caller]
fn is_silent(output: &Output) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let sung: Vec<_> = said.lines().filter(|line| line.to_lowercase().contains("kanarien")).collect();
    assert_eq!(sung, Vec::<&str>::new());
    said
}

#[test]
fn scoring_answers_without_the_words_of_the_post() {
    let c = CANARY;
    let lines: Vec<Vec<u8>> = [
        format!(r#"{{"post_id":"p-1","text":"{c} tomatoes {c}","context":{{"reply_to":"{c}"}}}}"#),
        format!(r#"{{"post_id":"p-2","text":"{c} Gas the kikes. Kill all jews, filthy subhuman rats. {c}","media":[{{"uri":"{c}"}}]}}"#),
        format!(r#"{{"post_id":"p-3","text_ref":"s3://{c}/{c}"}}"#),
        format!("{c} is not JSON"),
        format!(r#"{{"post_id":"p-4","text":"{c} \ud83d"}}"#),
        format!(r#"{{"post_id":["{c}"],"text":"{c}"}}"#),
        format!(r#"{{"post_id":"p-5","text":{{"{c}":"{c}"}}}}"#),
        format!(r#"{{"post_id":"p-6","text":"{c}","created_at":"{c}","lang":["{c}"]}}"#),
        format!(r#"{{"post_id":"p-7","text":"{c}","surface":"{}"}}"#, c.repeat(9)),
        format!(r#"{{"post_id":"{}","text":"{c}"}}"#, c.repeat(99)),
        format!(r#"{{"text":"{c}"}}"#),
        format!(r#"["{c}"]"#),
        format!(r#"{{"post_id":"p-8","text":"{}"}}"#, c.repeat(100_000)),
    ]
    .into_iter()
    .map(String::into_bytes)
    .chain([[c.as_bytes(), b" \xff ", c.as_bytes()].concat()])
    .collect();
    let count = lines.len();
    for arguments in [&["score"][..], &["score", "--explain"]] {
        let output = moderato(arguments, &lines.join(&b'\n'));
        let said = is_silent(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), count);
        for word in ["\"hide\"", "spans", "invalid_json", "invalid_utf8", "invalid_field", "missing_field", "too_large"]
        {
            assert!(said.contains(word), "nothing about `{word}` in\n{said}");
        }
    }
}

#[test]
fn evaluating_a_file_quotes_none_of_its_texts() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("quiet");
    fs::create_dir_all(&folder).unwrap();
    let rows: Vec<_> = (0..40).map(|n| format!("\"{CANARY} {n}, \"\"quoted\"\"\",{}\n", n % 2)).collect();
    for (name, text, fails) in [
        ("good.csv", format!("text,label\n{}", rows.concat()), false),
        ("short-row.csv", format!("text,label\n{}{CANARY}\n", rows.concat()), true),
        ("open-quote.csv", format!("text,label\n\"{CANARY}\n"), true),
        ("bad.jsonl", format!("{{\"text\":\"{CANARY}\",\"label\":1}}\n{CANARY}\n"), true),
        ("list.jsonl", format!("{{\"text\":[\"{CANARY}\"],\"label\":1}}\n"), false),
    ] {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let output =
            moderato(&["evaluate", "--data", file, "--text-column", "text", "--positive-when", "label=1"], b"");
        let said = is_silent(&output);
        assert_eq!(!output.status.success(), fails, "{name}: {said}");
        assert!(!said.is_empty());
    }
}
