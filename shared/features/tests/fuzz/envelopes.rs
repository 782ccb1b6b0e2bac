//! Whatever stands in a message, it is read or refused for a reason, and the reason quotes nothing.

// The intake is a module of the function. Here it needs no AWS SDK beside it, which the long form would have to
// compile, instrumented.
#[path = "../../../../functions/score/src/intake.rs"]
pub mod intake;

use crate::material;
use domain::post::split_uri;
use domain::{MAX_POST_BYTES, PostErrorKind, Timestamp};
use intake::{Intake, MAX_ENTRIES, Reject, put_back, read, read_object, was_put_back};
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
    let _ = was_put_back(body);
    if let Ok(list) = std::str::from_utf8(body) {
        let sent_at = Timestamp::from_millis(1_795_428_000_123);
        assert_eq!(was_put_back(put_back(sent_at, list).as_bytes()), Some((sent_at, body)));
    }
    match read(body) {
        Err(reject) => says_why(&reject),
        // Only events of S3 after which there is nothing to decide ask for nothing.
        Ok(intakes) if intakes.is_empty() => {
            let text = String::from_utf8_lossy(body);
            assert!(
                ["Event", "event", "s3", "ObjectRemoved", "LifecycleExpiration", "Deleted", "/", "%2"]
                    .iter()
                    .any(|word| text.contains(word)),
                "{text}"
            );
        }
        Ok(intakes) => intakes.iter().for_each(asks_for_something),
    }
    for intake in read_object(body).unwrap_or_default() {
        assert!(!matches!(intake, Intake::Object { .. }), "an object names another");
    }
}

fn asks_for_something(intake: &Intake) {
    match intake {
        Intake::Post(post) => {
            assert!((1..=256).contains(&post.post_id.as_str().len()) && (1..1 << 53).contains(&post.revision.get()));
            let content = post.texts().next().is_some() || post.text_ref.is_some() || !post.media.is_empty();
            assert!(
                content
                    || !post.unread.is_empty()
                    || [&post.title, &post.spoiler_text, &post.display_name].iter().any(|text| text.is_some())
            );
            assert!(post.notes.is_sorted() && post.notes.iter().all(|note| note.len() < 40));
            assert!(post.text.as_ref().is_none_or(|text| text.len() <= MAX_POST_BYTES));
            assert!([&post.lang, &post.surface].into_iter().flatten().all(|word| word.len() <= 35));
            if let Some((bucket, key)) = post.text_ref.as_deref().and_then(split_uri) {
                assert!(!bucket.is_empty() && !bucket.contains('/') && !key.is_empty());
            }
        }
        Intake::Object { bucket, key } => assert!(bucket.len() + key.len() <= MAX_POST_BYTES),
        Intake::Many(bodies) => {
            assert!(bodies.iter().all(|body| !body.contains(['\u{FFFE}', '\u{FFFF}']) && body.len() <= MAX_POST_BYTES));
            assert!(bodies.iter().all(|body| {
                serde_json::from_str::<Vec<serde_json::Value>>(body).is_ok_and(|entries| entries.len() <= MAX_ENTRIES)
            }));
        }
        Intake::Unreadable(reject) => says_why(reject),
    }
}

fn says_why(reject: &Reject) {
    use PostErrorKind::{InvalidField, InvalidJson, InvalidUtf8, MissingField, TooLarge};
    let kinds = [InvalidField, InvalidJson, InvalidUtf8, MissingField, TooLarge].map(PostErrorKind::as_str);
    assert!(
        kinds.contains(&reject.kind) || ["unknown_shape", "too_many_records"].contains(&reject.kind),
        "{}",
        reject.kind
    );
    let said = format!("{} {}", reject.kind, reject.detail).to_lowercase();
    assert!((10..300).contains(&reject.detail.len()), "{said}");
    let quoted = MARKER.as_bytes().windows(8).any(|run| said.as_bytes().windows(8).any(|other| other == run));
    assert!(!quoted, "a reason quotes its message: {said}");
}
