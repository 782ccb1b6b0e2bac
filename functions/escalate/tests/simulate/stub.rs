//! The endpoint: an answer is a function of what was asked, so that a decision can be tied to its text. On bad days it answers otherwise.

use fastrand::Rng;
use serde_json::{Value, json};
use world::Inference;

/// What a picture that can be looked at begins with.
pub const PICTURE: &str = "PICTURE ";

/// A number between 0 and 1 that belongs to these words, rounded to six decimals.
fn unit(words: &str) -> f64 {
    let digits = domain::sha256_hex(words.as_bytes());
    (f64::from(u32::from_str_radix(&digits[..8], 16).unwrap()) / f64::from(u32::MAX) * 1e6).round() / 1e6
}

/// The score of a text, or of what is written in a picture.
pub fn score(text: &str) -> f64 {
    unit(text)
}

/// What is written in a picture; not in every one something is.
pub fn written(picture: &str) -> Option<String> {
    (unit(&format!("written {picture}")) < 0.5).then(|| format!("words of {picture}"))
}

pub fn nudity(picture: &str) -> f64 {
    unit(&format!("nudity {picture}"))
}

/// Why a part of a picture was not read, where one was not.
pub fn unread(picture: &str) -> Option<&'static str> {
    (unit(&format!("unread {picture}")) < 0.15).then_some("too_many_lines")
}

/// Its perceptual hash.
pub fn hash(picture: &str) -> String {
    domain::sha256_hex(picture.as_bytes())
}

fn opinion(text: &str) -> Value {
    json!({
        "raw": score(text), "calibrated": score(text),
        "model": { "name": "second", "version": "1", "sha256": "ab" },
        "spans": [{ "start": 0, "end": 3, "weight": 1.5 }],
    })
}

fn seen(picture: &str) -> Value {
    if !picture.starts_with(PICTURE) {
        return json!({ "error": "not_an_image" });
    }
    let text = written(picture);
    let corners = [[1.0, 2.0], [30.0, 2.0], [30.0, 9.0], [1.0, 9.0]];
    let lines = text
        .as_ref()
        .map(|text| json!([{ "text": text, "confidence": 0.9, "corners": corners, "score": score(text) }]));
    json!({ "ok": {
        "width": 640, "height": 480, "pdq": hash(picture), "lines": lines.unwrap_or_else(|| json!([])),
        "nudity": nudity(picture), "nudity_model": { "name": "eyes", "version": "1", "sha256": "cd" },
        "text": text.map(|text| opinion(&text)), "unread": unread(picture),
    } })
}

/// What an honest endpoint says of one question.
fn answer(question: &Value) -> Value {
    let mut answer = json!({});
    if let Some(text) = question["text"].as_str() {
        answer["text"] = json!({ "ok": opinion(text) });
    }
    if let Some(images) = question["images"].as_array() {
        answer["images"] = images.iter().map(|image| seen(&decoded(image.as_str().unwrap()))).collect();
    }
    answer
}

/// Base64, read back.
pub fn decoded(base64: &str) -> String {
    let digit = |byte: u8| {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|one| *one == byte)
    };
    let digits: Vec<usize> = base64.bytes().filter_map(digit).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - four.len()));
        (0..four.len() - 1).map(move |place| (bits >> (16 - 8 * place) & 0xff) as u8).collect::<Vec<_>>()
    });
    String::from_utf8(bytes.collect()).unwrap()
}

/// An endpoint that answers otherwise with the chance `odd`.
pub fn endpoint(mut rng: Rng, odd: f64) -> Inference {
    Box::new(move |body| {
        let request: Value = serde_json::from_str(body).unwrap();
        let questions = request["instances"].as_array().unwrap();
        let mut answers: Vec<Value> = questions.iter().map(answer).collect();
        if rng.f64() < odd {
            return spoilt(&mut rng, questions, answers);
        }
        let body = json!({ "predictions": std::mem::take(&mut answers) }).to_string();
        (200, body.into_bytes())
    })
}

/// An answer that is none, that lacks something, or that holds what it must not.
fn spoilt(rng: &mut Rng, questions: &[Value], mut answers: Vec<Value>) -> (u16, Vec<u8>) {
    let place = rng.usize(..answers.len());
    let said = questions[place]["text"].as_str().unwrap_or("kanarienvogel").to_owned();
    let one = &mut answers[place];
    let image = one["images"].as_array().is_some_and(|images| images[0]["ok"].is_object());
    match rng.u8(..14) {
        0 => _ = answers.pop(),
        1 => answers.push(json!({})),
        2 if image => one["images"][0]["ok"]["nudity"] = json!(1.5),
        2 => one["text"]["ok"]["calibrated"] = json!(1.5),
        3 if image => one["images"][0]["ok"]["pdq"] = json!(said),
        3 => one["text"]["ok"]["calibrated"] = json!(-0.25),
        4 => *one = json!({}),
        5 => {
            one["images"] =
                json!([{ "error": "broken" }, { "error": "broken" }, { "error": "broken" }, { "error": "broken" }])
        }
        6 if image => one["images"][0]["ok"]["nudity_model"]["name"] = json!(said),
        6 => one["text"]["ok"]["model"]["version"] = json!(said),
        7 => return (200, br#"{"predictions":[{"text":{"ok":{"raw":1e999}}}]}"#.to_vec()),
        8 => return (200, b"null".to_vec()),
        9 => return (200, Vec::new()),
        10 => return (500, json!({ "__type": said, "message": said }).to_string().into_bytes()),
        11 => return (413, said.into_bytes()),
        // Nothing is wrong with these answers; there is just no opinion in them.
        12 if image => one["images"][0] = json!({ "error": "model_failed" }),
        _ => one["text"] = json!({ "error": said }),
    }
    (200, json!({ "predictions": answers }).to_string().into_bytes())
}
