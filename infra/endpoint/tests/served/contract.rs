//! What SageMaker and whoever calls it may rely on.

use std::time::Duration;

use base64::Engine;
use endpoint::npy::{Ids, read_floats, write_ids};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::fakes::{Fake, PANIC, Served, UNKNOWN, kind, scores, texts_of};

fn json_of(served: &Served, body: &str) -> Answer {
    served.client().post("application/json", body.as_bytes()).unwrap()
}

fn npy_of(served: &Served, rows: usize, ids: &[i64]) -> Answer {
    let ids = Ids { rows, length: ids.len() / rows, ids: ids.to_vec() };
    served.client().post("application/x-npy", &write_ids(&ids)).unwrap()
}

#[test]
fn ping_says_whether_it_serves() {
    let served = Served::without(&[]);
    let ping = served.client().get("/ping").unwrap();
    assert_eq!((ping.status, kind(&ping)), (503, "not_loaded".to_owned()));
    let asked = served.ask(&["1"]);
    assert_eq!((asked.status, kind(&asked)), (503, "not_loaded".to_owned()));
    served.load(&Fake::new(1), 1);
    assert_eq!(served.client().get("/ping").unwrap().status, 200);
    assert_eq!(served.ask(&["1"]).status, 200);
}

#[test]
fn texts_are_answered_in_their_order() {
    let served = Served::with(&Fake::new(4), &[]);
    let answer = served.ask(&["100 20", "", "7;3;5", "500"]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(scores(&answer), [json!(0.12), json!(0.0), json!(0.015), json!(0.5)]);
    assert_eq!(scores(&served.ask(&[])), Vec::<Value>::new());
}

#[test]
fn a_bad_instance_fails_itself_alone() {
    let served = Served::with(&Fake::new(8), &[]);
    let images = |files: &[&str]| -> Vec<String> {
        files.iter().map(|file| base64::engine::general_purpose::STANDARD.encode(file)).collect()
    };
    let body = json!({ "instances": [
        { "text": "1 2" }, { "text": 5 }, 7, { "text": PANIC.to_string() }, { "text": UNKNOWN.to_string() },
        { "text": "no number" }, { "text": "777" }, { "text": "1", "lang": "xx" }, { "text": "1".repeat(300_000) },
        { "images": ["no base64!"] }, { "images": images(&["image"; 9]) },
        { "text": "3", "images": images(&["image", "panic", "other"]) }, { "text": "4" }, {},
    ] });
    let answer = json_of(&served, &body.to_string());
    assert_eq!(answer.status, 200);
    let code = |code: &str| json!(code);
    assert_eq!(
        scores(&answer),
        [
            json!(0.003),
            code("invalid_instance"),
            code("invalid_instance"),
            code("panicked"),
            code("id_out_of_range"),
            code("panicked"),
            code("panicked"),
            code("language_not_learned"),
            code("text_too_long"),
            code("invalid_instance"),
            code("invalid_instance"),
            json!(0.003),
            json!(0.004),
            Value::Null,
        ]
    );
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let seen = &body["predictions"][11]["images"];
    assert_eq!((&seen[0]["ok"]["nudity"], &seen[0]["ok"]["text"]["calibrated"]), (&json!(0.5), &json!(0.003)));
    assert_eq!((&seen[1], &seen[2]), (&json!({ "error": "model_failed" }), &json!({ "error": "not_an_image" })));
    assert!(!answer.text().contains("CANARY"));
}

#[test]
fn arrays_of_ids_are_answered_by_arrays_of_logits() {
    let served = Served::with(&Fake::new(8), &[]);
    let answer = npy_of(&served, 2, &[1, 2, 3, 40, 50, 60]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-npy")));
    assert_eq!(read_floats(&answer.body, 2, 2).unwrap(), [[6.0, 1.0], [150.0, 1.0]]);
    let bad = served.client().post("application/x-npy", b"CANARY").unwrap();
    assert_eq!((bad.status, kind(&bad)), (400, "invalid_npy".to_owned()));
    let unknown = npy_of(&served, 2, &[1, UNKNOWN]);
    assert_eq!((unknown.status, kind(&unknown)), (400, "invalid_rows".to_owned()));
    let panicked = npy_of(&served, 2, &[1, PANIC]);
    assert_eq!((panicked.status, kind(&panicked)), (500, "model_failed".to_owned()));
    assert_eq!(npy_of(&served, 1, &[1]).status, 200, "a panic fails its request alone");
}

#[test]
fn what_is_not_a_request_is_refused_with_a_kind_and_without_its_content() {
    let served = Served::with(&Fake::new(1), &[]);
    for media_type in ["text/plain", "application/jsonlines", ""] {
        let answer = served.client().post(media_type, b"CANARY").unwrap();
        assert_eq!((answer.status, kind(&answer)), (415, "unsupported_media_type".to_owned()));
    }
    let many = texts_of(&["1"; 513]);
    for body in [&b"CANARY"[..], b"", b"{}", b"[]", br#"{"instances":"CANARY"}"#, b"\xff\xfe", &many] {
        let answer = served.client().post("application/json; charset=utf-8", body).unwrap();
        assert_eq!((answer.status, kind(&answer)), (400, "invalid_json".to_owned()));
        assert!(!answer.text().contains("CANARY"));
    }
    assert_eq!(served.client().get("/other").unwrap().status, 404);
    assert_eq!(served.client().get("/invocations").unwrap().status, 405);
}

#[test]
fn no_more_than_six_mebibytes_are_read() {
    let served = Served::with(&Fake::new(1), &[]);
    let head = "POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let said = format!("{head}content-length: {}\r\n\r\n", 6 * 1024 * 1024 + 1);
    let answer = served.client().raw(said.as_bytes()).unwrap();
    assert_eq!((answer.status, kind(&answer)), (413, "too_large".to_owned()));
    let chunk = [b"100000\r\n", &[b' '; 0x10_0000][..], b"\r\n"].concat();
    let chunks =
        |count: usize| [format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes(), chunk.repeat(count)].concat();
    let hidden = [chunks(6), b"1\r\n \r\n0\r\n\r\n".to_vec()].concat();
    assert_eq!(served.client().raw(&hidden).unwrap().status, 413);
    let last = format!("{:x}\r\n{}\r\n0\r\n\r\n", 16, r#"{"instances":[]}"#);
    assert_eq!(served.client().raw(&[chunks(5), last.into_bytes()].concat()).unwrap().status, 200);
    // More rows than may ever wait.
    assert_eq!(served.ask(&[&"1;".repeat(513)]).status, 413);
}

#[test]
fn stopping_finishes_what_is_held_and_takes_no_more() {
    let fake = Fake::new(1);
    let served = Served::with(&fake, &[]);
    fake.close();
    let first = served.asking(&["1"]);
    fake.begun(1);
    let second = served.asking(&["2"]);
    served.waits(1);
    let (mut client, address) = (served.client(), served.address());
    let Served { runtime, server } = served;
    let app = std::sync::Arc::clone(&server.app);
    let stopped = std::thread::spawn(move || runtime.block_on(server.stop(Duration::from_secs(60))));
    crate::fakes::until(|| client.get("/ping").is_ok_and(|ping| ping.status == 503 && kind(&ping) == "stopping"));
    let refused = Client::connect(address).unwrap().post("application/json", &texts_of(&["3"])).unwrap();
    assert_eq!((refused.status, kind(&refused)), (503, "stopping".to_owned()));
    fake.open();
    assert_eq!((first.join().unwrap().status, second.join().unwrap().status), (200, 200));
    assert_eq!(stopped.join().unwrap(), 0);
    assert_eq!(app.metrics.rows(), 2);
    assert!(Client::connect(address).is_err());
}

#[test]
fn stopping_ends_at_its_bound() {
    let fake = Fake::new(1);
    let served = Served::with(&fake, &[]);
    fake.close();
    let lost = served.asking(&["1"]);
    served.holds(1);
    fake.begun(1);
    assert_eq!(served.runtime.block_on(served.server.stop(Duration::from_millis(20))), 1);
    fake.open();
    drop(lost);
}
