//! Fuzzing the two ends of a queue function: the event that Lambda hands over, and the answer that it reads.
//!
//! `cargo test` runs the corpora and a few seconds of mutations; `make fuzz` lets coverage guide them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

#[path = "../../../domain/tests/common/mutated.rs"]
mod mutated;

use mutated::Material;
use runtime::{BatchResponse, SqsBatch, SqsMessage};
use serde_json::{Value, json, value::RawValue};
use std::collections::BTreeMap;
use std::time::Duration;

/// Stands wherever content may stand in the seeds and among the words; no eight bytes of it may come back.
const MARKER: &str = "kanarienvogel";

#[test]
fn fuzz_batches() {
    bolero::check!(name = "batches").with_test_time(Duration::from_secs(1)).for_each(any_event);
}

#[test]
fn mutations_of_batches() {
    let material = Material::of(env!("CARGO_MANIFEST_DIR"), "batches");
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(60)
        .for_each(|recipe| any_event(&material.mutated(recipe)));
}

/// The ids of a batch, and for each whether it is to be delivered again.
#[test]
fn fuzz_responses() {
    bolero::check!(name = "responses")
        .with_test_time(Duration::from_secs(2))
        .with_type::<Vec<(String, String, bool)>>()
        .for_each(|messages| any_response(messages));
}

fn any_event(bytes: &[u8]) {
    // What is no JSON never reaches us: Lambda's own client refuses it.
    let Ok(event) = serde_json::from_slice::<Box<RawValue>>(bytes) else { return };
    match SqsBatch::parse(&event) {
        Err(error) => {
            let said = format!("{error} {error:?}");
            assert!(said.len() < 300);
            assert!(!MARKER.as_bytes().windows(8).any(|run| said.as_bytes().windows(8).any(|other| other == run)));
        }
        Ok(batch) => {
            let parsed: Value = serde_json::from_str(&event.get().replace("\\ud", "\\u0")).unwrap_or(Value::Null);
            let records = parsed["Records"].as_array();
            assert!(records.is_none_or(|records| records.len() == batch.messages.len()), "a message is lost");
            let strict: Option<Value> = serde_json::from_str(event.get()).ok();
            for (index, message) in batch.messages.iter().enumerate() {
                assert!(!message.message_id.is_empty());
                // Something is replaced only where strict JSON has no text.
                let text = strict.as_ref().and_then(|event| event["Records"][index]["body"].as_str());
                assert!(!message.replaced || text.is_none());
            }
            answers(&batch, |index| index % 2 == 0);
            answers(&batch, |_| true);
        }
    }
}

fn any_response(messages: &[(String, String, bool)]) {
    let records: Vec<_> =
        messages.iter().map(|(id, body, _)| json!({ "messageId": id, "body": body, "attributes": {} })).collect();
    let event = RawValue::from_string(json!({ "Records": records }).to_string()).unwrap();
    match SqsBatch::parse(&event) {
        Ok(batch) => {
            assert!(
                batch
                    .messages
                    .iter()
                    .map(|message| (&message.message_id, message.body.as_str()))
                    .eq(messages.iter().map(|(id, body, _)| (id, body.as_str())))
            );
            answers(&batch, |index| messages[index].2);
        }
        // What cannot be named in an answer fails the batch as a whole, before anything is done.
        Err(_) => assert!(messages.iter().any(|(id, _, _)| id.is_empty())),
    }
}

/// The answer for these messages is read back as exactly their ids: of the batch, none empty, none more often than there.
fn answers(batch: &SqsBatch, again: impl Fn(usize) -> bool) {
    let chosen: Vec<&SqsMessage> =
        batch.messages.iter().enumerate().filter(|(index, _)| again(*index)).map(|(_, message)| message).collect();
    let response = BatchResponse::deliver_again(chosen.iter().copied());
    let written: Value = serde_json::from_str(&serde_json::to_string(&response).unwrap()).unwrap();
    let expected: Vec<_> = chosen.iter().map(|message| json!({ "itemIdentifier": message.message_id })).collect();
    assert_eq!(written, json!({ "batchItemFailures": expected }));
    assert!(response.failures().eq(chosen.iter().map(|message| message.message_id.as_str())));
    let mut left: BTreeMap<&str, i64> = BTreeMap::new();
    for message in &batch.messages {
        *left.entry(&message.message_id).or_default() += 1;
    }
    for id in response.failures() {
        assert!(!id.is_empty());
        *left.get_mut(id).unwrap() -= 1;
    }
    assert!(left.values().all(|count| *count >= 0));
}
