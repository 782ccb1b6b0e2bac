//! Whatever stands in a message, it is read or refused for a reason, and the reason quotes nothing.

// The intake is a module of the function. Here it needs no AWS SDK beside it, which the long form would have to
// compile, instrumented.
#[path = "../../../../functions/score/src/intake.rs"]
mod intake;

use crate::material;
use domain::post::split_uri;
use domain::{MAX_POST_BYTES, PostErrorKind};
use intake::{Intake, Reject, read};
use serde_json::Value;
use std::time::Duration;

/// Stands wherever content may stand in the seeds and among the words; no eight bytes of it may come back.
const MARKER: &str = "kanarienvogel";

#[test]
fn fuzz_envelopes() {
    bolero::check!(name = "envelopes").with_test_time(Duration::from_secs(1)).for_each(any_envelope);
}

#[test]
fn mutations_of_envelopes() {
    let material = material("envelopes");
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(80)
        .for_each(|recipe| any_envelope(&material.mutated(recipe)));
}

fn any_envelope(body: &[u8]) {
    match read(body) {
        Err(reject) => says_why(&reject),
        // Only the event that S3 sends when a notification is set up asks for nothing.
        Ok(intakes) if intakes.is_empty() => assert!(names_test_event(&serde_json::from_slice(body).unwrap())),
        Ok(intakes) => intakes.iter().for_each(asks_for_something),
    }
}

fn asks_for_something(intake: &Intake) {
    match intake {
        Intake::Post(post) => {
            assert!((1..=256).contains(&post.post_id.as_str().len()) && (1..1 << 53).contains(&post.revision.get()));
            assert!(post.text.is_some() || post.text_ref.is_some() || !post.media.is_empty());
            assert!(post.text.as_ref().is_none_or(|text| text.len() <= MAX_POST_BYTES));
            assert!([&post.lang, &post.surface].into_iter().flatten().all(|word| word.len() <= 35));
            if let Some((bucket, key)) = post.text_ref.as_deref().and_then(split_uri) {
                assert!(!bucket.is_empty() && !bucket.contains('/') && !key.is_empty());
            }
        }
        Intake::Object { bucket, key } => assert!(bucket.len() + key.len() <= MAX_POST_BYTES),
        Intake::Unreadable(reject) => says_why(reject),
    }
}

fn says_why(reject: &Reject) {
    use PostErrorKind::{InvalidField, InvalidJson, InvalidUtf8, MissingField, TooLarge};
    let kinds = [InvalidField, InvalidJson, InvalidUtf8, MissingField, TooLarge].map(PostErrorKind::as_str);
    assert!(kinds.contains(&reject.kind) || reject.kind == "unknown_shape", "{}", reject.kind);
    let said = format!("{} {} {reject:?}", reject.kind, reject.detail).to_lowercase();
    assert!((10..300).contains(&reject.detail.len()), "{said}");
    let quoted = MARKER.as_bytes().windows(8).any(|run| said.as_bytes().windows(8).any(|other| other == run));
    assert!(!quoted, "a reason quotes its message: {said}");
}

/// However deep it is wrapped.
fn names_test_event(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            text == "s3:TestEvent" || serde_json::from_str(text).is_ok_and(|inner: Value| names_test_event(&inner))
        }
        Value::Object(fields) => fields.values().any(names_test_event),
        _ => false,
    }
}
