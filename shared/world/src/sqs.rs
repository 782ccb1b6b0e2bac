//! SQS, as far as something is sent to it, or what was received from it is hidden for a while.

use crate::cloud::{Answer, Cloud, Partial, Told};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes that one call takes.
const BYTES_A_CALL: usize = 1024 * 1024;
/// Nothing is hidden for longer: twelve hours.
const LONGEST_HIDDEN_S: u64 = 43_200;

pub(crate) fn answer(cloud: &Cloud, operation: &str, body: &[u8], partial: &mut dyn Partial) -> Answer {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return Answer::error(400, "SerializationException");
    };
    let url = request.get("QueueUrl").and_then(Value::as_str).unwrap_or_default();
    let queue = url.rsplit('/').next().unwrap_or_default();
    let Some(entries) = request.get("Entries").and_then(Value::as_array) else {
        return Answer::error(400, "ValidationException");
    };
    let ids: BTreeSet<String> = entries.iter().map(|entry| field(entry, "Id")).collect();
    if entries.is_empty() {
        return Answer::error(400, "AWS.SimpleQueueService.EmptyBatchRequest");
    }
    if entries.len() > 10 {
        return Answer::error(400, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest");
    }
    if ids.len() != entries.len() || ids.contains("") {
        return Answer::error(400, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct");
    }
    match operation {
        "SendMessageBatch" => send(cloud, queue, entries, partial),
        "ChangeMessageVisibilityBatch" => hide(cloud, queue, entries, partial),
        _ => Answer::error(400, "UnknownOperationException"),
    }
}

/// The characters that SQS takes in a body (`SendMessage` in the API reference): those of XML 1.0.
fn is_taken(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

fn field(entry: &Value, name: &str) -> String {
    entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn hide(cloud: &Cloud, queue: &str, entries: &[Value], partial: &mut dyn Partial) -> Answer {
    let mut state = cloud.state();
    let Some(inbox) = state.inboxes.get_mut(queue) else {
        return Answer::error(400, "AWS.SimpleQueueService.NonExistentQueue");
    };
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let id = field(entry, "Id");
        let seconds =
            entry.get("VisibilityTimeout").and_then(Value::as_u64).filter(|seconds| *seconds <= LONGEST_HIDDEN_S);
        let hidden = match (partial.refuse(&id), seconds) {
            (Some(code), _) => Err((code, false)),
            (None, None) => Err(("InvalidParameterValue", true)),
            (None, Some(seconds)) => {
                let until = Instant::now() + Duration::from_secs(seconds);
                inbox.hide_received(&field(entry, "ReceiptHandle"), until).map_err(|code| (code, true))
            }
        };
        match hidden {
            Ok(()) => successful.push(json!({ "Id": id })),
            Err((code, sender)) => {
                failed.push(json!({ "Id": id, "Code": code, "SenderFault": sender, "Message": "as told" }));
            }
        }
    }
    Answer::json(200, &json!({ "Successful": successful, "Failed": failed }))
}

fn send(cloud: &Cloud, queue: &str, entries: &[Value], partial: &mut dyn Partial) -> Answer {
    let bytes: usize = entries.iter().map(|entry| field(entry, "MessageBody").len()).sum();
    if bytes > BYTES_A_CALL {
        return Answer::error(400, "AWS.SimpleQueueService.BatchRequestTooLong");
    }
    if entries.iter().any(|entry| !field(entry, "MessageBody").chars().all(is_taken)) {
        return Answer::error(400, "InvalidMessageContents");
    }
    let mut state = cloud.state();
    let kept = state.queues.entry(queue.to_owned()).or_default();
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let id = field(entry, "Id");
        match partial.refuse(&id) {
            Some(code) => failed.push(json!({ "Id": id, "Code": code, "SenderFault": false, "Message": "as told" })),
            None => {
                let body = field(entry, "MessageBody");
                successful.push(json!({ "Id": id, "MessageId": kept.len().to_string(), "MD5OfMessageBody": "" }));
                kept.push(Told { body, at: Instant::now() });
            }
        }
    }
    Answer::json(200, &json!({ "Successful": successful, "Failed": failed }))
}
