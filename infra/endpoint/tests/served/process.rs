//! The program itself, as SageMaker starts and stops it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::client::Client;
use crate::fakes::until;
use crate::tiny::{Files, PLAIN, library};

pub fn cascade() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/scoring/models/minilm-cascade")
}

fn program(model: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_endpoint"));
    command.arg("serve").arg("--model").arg(model).arg("--onnxruntime").arg(library());
    command.args(["--bind", "127.0.0.1:0", "--workers", "1"]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Where it listens, which its first line says.
fn address(child: &mut Child) -> (SocketAddr, Vec<String>) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    loop {
        said.push(lines.next().unwrap());
        let line: Value = serde_json::from_str(said.last().unwrap()).unwrap();
        if line["message"] == "the endpoint serves" {
            break;
        }
    }
    let first: Value = serde_json::from_str(&said[0]).unwrap();
    let address = first["address"].as_str().unwrap().parse().unwrap();
    // What it says later is read to its end, so that it never waits for us.
    let rest = std::thread::spawn(move || lines.collect::<Vec<_>>());
    LATER.lock().unwrap().push((address, rest));
    (address, said)
}

type Later = Vec<(SocketAddr, std::thread::JoinHandle<Vec<String>>)>;
static LATER: std::sync::Mutex<Later> = std::sync::Mutex::new(Vec::new());

fn later(address: SocketAddr) -> Vec<String> {
    let mut later = LATER.lock().unwrap();
    let place = later.iter().position(|(other, _)| *other == address).unwrap();
    let (_, rest) = later.swap_remove(place);
    drop(later);
    rest.join().unwrap()
}

#[test]
fn it_starts_serves_and_stops_by_sigterm_and_never_says_what_it_was_asked() {
    let mut child = program(&cascade(), &[]).spawn().unwrap();
    let (address, mut said) = address(&mut child);
    let mut client = Client::connect(address).unwrap();
    until(|| Client::connect(address).unwrap().get("/ping").unwrap().status == 200);
    let good = json!({ "instances": [{ "text": "CANARY you are all vermin" }, { "text": ["CANARY"] }] }).to_string();
    let answer = client.post("application/json", good.as_bytes()).unwrap();
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("CANARY"));
    for (media_type, body) in [("application/json", "CANARY"), ("CANARY", "CANARY"), ("application/x-npy", "CANARY")] {
        let answer = client.post(media_type, body.as_bytes()).unwrap();
        assert!(answer.status >= 400 && !answer.text().contains("CANARY"));
    }
    let metrics = client.get("/metrics").unwrap().text();
    assert!(metrics.contains("endpoint_requests_total{status=\"200\"} 1\n"), "{metrics}");
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    said.extend(later(address));
    let all = [said.join("\n").as_str(), &*String::from_utf8_lossy(&output.stderr), &*metrics].concat();
    assert_eq!(output.status.code(), Some(0), "{all}");
    assert!(!all.contains("CANARY"), "{all}");
    assert!(all.contains(r#""device":"cpu""#) && all.contains(r#""requests.lost":0"#), "{all}");
    assert!(said.iter().any(|line| line.contains("CloudWatchMetrics") && line.contains(r#""Invocations":4"#)), "{all}");
}

fn ends(model: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, .. } = program(model, arguments).output().unwrap();
    assert_eq!(status.code(), Some(1));
    let stdout = String::from_utf8(stdout).unwrap();
    stdout.lines().last().unwrap().to_owned()
}

#[test]
fn a_model_that_is_refused_ends_it_with_one_line_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    assert!(ends(folder.path(), &[]).contains("holds neither `manifest.json`"));
    let mut files = Files::of(PLAIN);
    files.golden.extend(br#"{"text":"bad CANARY","probability":0.25,"tolerance":0.001}"#);
    files.write(folder.path());
    let said = ends(folder.path(), &[]);
    assert!(
        said.contains("row 5 of `golden.jsonl` expects the probability 0.25") && !said.contains("CANARY"),
        "{said}"
    );
    assert!(ends(&cascade(), &["--device", "cuda"]).contains("is quantised for the processor"));
}

#[test]
fn a_gpu_that_is_demanded_and_not_there_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    Files::of(PLAIN).write(folder.path());
    let said = ends(folder.path(), &["--device", "cuda:7"]);
    assert!(said.contains("loading `model.onnx`: loading a graph for the CUDA device 7: "), "{said}");
}
