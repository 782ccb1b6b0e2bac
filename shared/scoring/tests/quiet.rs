//! ONNX Runtime keeps to itself: no file, no connection, no thread of its own appears while it is loaded and used.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the process has open that reaches outside: sockets with their identity, and files open for whatever purpose.
fn open() -> BTreeSet<String> {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .map(|target| target.display().to_string())
        // The folder being listed.
        .filter(|target| !target.ends_with("/fd"))
        .collect()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Runs in a process of its own, started by the other test, with empty folders for home, temporary and working files.
#[test]
#[ignore = "started by `nothing_appears`"]
fn child() {
    let library = common::library();
    let before = (open(), threads());
    let onnx = scoring::init(&library).unwrap();
    let again = scoring::init(Path::new("not/looked/at")).unwrap();
    let model = scoring::TextModel::load(&onnx, &scoring::Bundle::read(&common::baseline()).unwrap(), None).unwrap();
    scoring::TextModel::load(&again, &scoring::Bundle::read(&common::baseline()).unwrap(), None).unwrap();
    for number in 0..200 {
        model.score(&format!("post number {number}")).unwrap();
    }
    let scored = model.score("a text to explain").unwrap();
    model.explain("a text to explain", &scored, 2).unwrap();
    // A telemetry thread would have had its time to wake up.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!((open(), threads()), before);
}

fn everything_in(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_in(&path));
        }
        found.push(path.display().to_string());
    }
    found
}

#[test]
fn nothing_appears() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--test-threads=1"])
        .current_dir(empty.path())
        .env("MODERATO_ONNXRUNTIME", fs::canonicalize(common::library()).unwrap())
        .envs(["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"].map(|name| (name, empty.path())))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(everything_in(empty.path()), Vec::<String>::new());
}

#[test]
fn a_library_that_is_not_there_is_an_error() {
    // In a process of its own too: ONNX Runtime is loaded once a process.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child_without_library", "--exact", "--ignored"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "started by `a_library_that_is_not_there_is_an_error`"]
fn child_without_library() {
    let error = scoring::init(Path::new("no/such/library.so")).unwrap_err();
    assert!(error.to_string().contains("no/such/library.so"), "{error}");
    // The failure leaves nothing behind that would stop a second try.
    scoring::init(&common::library()).unwrap();
}
