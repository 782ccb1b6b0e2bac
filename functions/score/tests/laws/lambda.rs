//! The answer as Lambda reads it. The local AWS takes a malformed one for success and deletes the messages; Lambda
//! itself fails the whole batch, or deletes it whole, by rules of its own
//! (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>), which stand here as a reader.

use crate::common::*;
use runtime::{Invocation, SqsBatch};
use serde_json::{Value, json, value::RawValue};
use std::sync::Arc;
use std::time::Duration;
use store::Deadline;

/// What Lambda makes of an answer, `None` where the invocation failed: the places of the messages that it deletes.
pub fn deleted(answer: Option<&str>, ids: &[&str]) -> Vec<usize> {
    let all = (0..ids.len()).collect();
    let nothing = Vec::new();
    let Some(Ok(answer)) = answer.map(serde_json::from_str::<Value>) else { return nothing };
    let failures = match &answer {
        Value::Null => return all,
        Value::Object(fields) if fields.is_empty() => return all,
        Value::Object(fields) => match fields.get("batchItemFailures") {
            Some(Value::Null) => return all,
            Some(Value::Array(failures)) => failures,
            // The documentation is silent about another key, and says nothing good about another type.
            _ => return nothing,
        },
        _ => return nothing,
    };
    let mut failed = Vec::new();
    for failure in failures {
        match failure.get("itemIdentifier").and_then(Value::as_str) {
            Some(id) if !id.is_empty() && ids.contains(&id) => failed.push(id),
            // Empty, null, under another name, or of no message of the batch.
            _ => return nothing,
        }
    }
    (0..ids.len()).filter(|place| !failed.contains(&ids[*place])).collect()
}

#[test]
fn the_reader_reads_as_the_documentation_says() {
    let ids = ["a", "b", "c"];
    let (all, none) = (vec![0, 1, 2], Vec::<usize>::new());
    for (answer, expected) in [
        (r#"{"batchItemFailures":[]}"#, &all),
        (r#"{"batchItemFailures":null}"#, &all),
        ("{}", &all),
        ("null", &all),
        (r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#, &vec![0, 2]),
        (r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":""}]}"#, &none),
        (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, &none),
        (r#"{"batchItemFailures":[{"itemIdentifier":"d"}]}"#, &none),
        (r#"{"batchItemFailures":[{"itemIdentifier":"B"}]}"#, &none),
        (r#"{"batchItemFailures":[{"item_identifier":"b"}]}"#, &none),
        (r#"{"batchItemFailures":["b"]}"#, &none),
        (r#"{"batch_item_failures":[]}"#, &none),
        (r#"{"batchItemFailures":[{"itemIdentifier":"b"}"#, &none),
        ("", &none),
    ] {
        assert_eq!(deleted(Some(answer), &ids), *expected, "{answer}");
    }
    assert_eq!(deleted(None, &ids), none);
}

/// What the function answers to an event, as `runtime::serve` hands it to Lambda: JSON, or an error, which is `None`.
async fn answer(app: &score::App, event: &Value) -> Option<String> {
    let payload = RawValue::from_string(event.to_string()).unwrap();
    let batch = SqsBatch::parse(&payload).ok()?;
    let left = Duration::from_secs(30);
    let deadline_ms = runtime::telemetry::now_ms() + 30_000;
    let invocation = Invocation { deadline: Deadline::now() + left, deadline_ms, cold_start: false };
    Some(serde_json::to_string(&score::handle(app, batch, invocation).await.ok()?).unwrap())
}

fn event(messages: &[(&str, String)]) -> Value {
    let records: Vec<_> = messages
        .iter()
        .map(|(id, body)| json!({ "messageId": id, "body": body, "attributes": { "SentTimestamp": SENT_MS.to_string() } }))
        .collect();
    json!({ "Records": records })
}

/// Delivers these messages under these faults; Lambda deletes exactly those at `expected`.
async fn deletes(faults: &[Fault], messages: &[(&str, String)], expected: &[usize]) -> Arc<World> {
    let world = Arc::new(World::default());
    for fault in faults {
        world.breaks(fault.clone());
    }
    let answer = answer(&app(&world), &event(messages)).await;
    let ids: Vec<&str> = messages.iter().map(|(id, _)| *id).collect();
    assert_eq!(deleted(answer.as_deref(), &ids), expected, "{faults:?} {answer:?}");
    world
}

fn good() -> Vec<(&'static str, String)> {
    vec![("a", post("hidden", HATEFUL)), ("b", post("approved", HARMLESS)), ("c", post("reviewed", UNCERTAIN))]
}

#[tokio::test]
async fn a_good_batch_is_deleted_whole() {
    deletes(&[], &good(), &[0, 1, 2]).await;
    deletes(&[], &[], &[]).await;
}

#[tokio::test]
async fn what_failed_and_nothing_else_is_kept() {
    deletes(&[Fault::InsertShort(0)], &good(), &[]).await;
    deletes(&[Fault::Insert("hidden")], &good(), &[1, 2]).await;
    deletes(&[Fault::InsertShort(2)], &good(), &[0, 1]).await;
    deletes(&[Fault::Send("tasks", "reviewed"), Fault::Send("actions", "hidden")], &good(), &[1]).await;
}

#[tokio::test]
async fn poison_and_panics_are_deleted_once_they_are_kept() {
    let mut messages = good();
    messages.push(("d", "not json".to_owned()));
    messages.push(("e", post("panics", PANICS)));
    messages.push(("f", "{}".to_owned()));
    let world = deletes(&[], &messages, &[0, 1, 2, 3, 4, 5]).await;
    assert_eq!(world.objects_under("quarantine/").await.len(), 3);
    deletes(&[Fault::Put], &messages, &[0, 1, 2]).await;
    deletes(&[Fault::Put, Fault::InsertShort(0)], &messages, &[]).await;
}

#[tokio::test]
async fn repeats_in_the_batch_are_named_each_by_its_own_id() {
    let mut messages = good();
    messages.push(("d", post("hidden", HATEFUL)));
    deletes(&[], &messages, &[0, 1, 2, 3]).await;
    deletes(&[Fault::Insert("hidden")], &messages, &[1, 2]).await;
}

/// SQS delivers at least once: the same message may stand twice in a batch.
#[tokio::test]
async fn the_same_message_twice_is_kept_or_deleted_as_one() {
    let twice = [("a", post("hidden", HATEFUL)), ("b", post("approved", HARMLESS)), ("a", post("hidden", HATEFUL))];
    deletes(&[], &twice, &[0, 1, 2]).await;
    deletes(&[Fault::Insert("hidden")], &twice, &[1]).await;
    // Even where Lambda counted each naming for one delivery alone, both would be kept.
    let world = Arc::new(World::default());
    world.breaks(Fault::Insert("hidden"));
    let answer = answer(&app(&world), &event(&twice)).await.unwrap();
    assert_eq!(answer.matches(r#"{"itemIdentifier":"a"}"#).count(), 2);
    // Two messages that only share their id: one of them failing keeps both.
    let others = [("a", post("hidden", HATEFUL)), ("a", post("approved", HARMLESS))];
    deletes(&[Fault::Insert("hidden")], &others, &[]).await;
}

#[tokio::test]
async fn ids_come_back_letter_by_letter() {
    let long = "x".repeat(100_000);
    for odd in ["\"", "\\", "\\u0041", "a b\t\n", "\0", "é💩\u{2028}\u{feff}", "null", "{}", " ", &long] {
        let messages = [(odd, post("hidden", HATEFUL)), ("plain", post("approved", HARMLESS))];
        deletes(&[Fault::Insert("hidden")], &messages, &[1]).await;
        deletes(&[Fault::Insert("approved")], &messages, &[0]).await;
    }
}

/// A message that could not be named in an answer fails the invocation, loudly, before anything is done: the whole
/// batch comes again.
#[tokio::test]
async fn a_message_without_an_id_fails_its_batch_before_anything_is_done() {
    let world = Arc::new(World::default());
    let app = app(&world);
    for id in [json!(""), json!(null), json!(7)] {
        let mut event = event(&good());
        event["Records"][1]["messageId"] = id;
        assert_eq!(answer(&app, &event).await, None);
    }
    let mut without = event(&good());
    without["Records"][1].as_object_mut().unwrap().remove("messageId");
    assert_eq!(answer(&app, &without).await, None);
    assert_eq!(world.calls(), Vec::new());
}
