//! SQS, as far as something is sent to it.

use crate::cloud::{Answer, Cloud, Partial, Told};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Bytes that one call takes.
const BYTES_A_CALL: usize = 1024 * 1024;

pub(crate) fn answer(cloud: &Cloud, operation: &str, body: &[u8], partial: &mut dyn Partial) -> Answer {
    if operation != "SendMessageBatch" {
        return Answer::error(400, "UnknownOperationException");
    }
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return Answer::error(400, "SerializationException");
    };
    let url = request.get("QueueUrl").and_then(Value::as_str).unwrap_or_default();
    let queue = url.rsplit('/').next().unwrap_or_default();
    let Some(entries) = request.get("Entries").and_then(Value::as_array) else {
        return Answer::error(400, "ValidationException");
    };
    let field = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ids: BTreeSet<String> = entries.iter().map(|entry| field(entry, "Id")).collect();
    let bytes: usize = entries.iter().map(|entry| field(entry, "MessageBody").len()).sum();
    if entries.is_empty() {
        return Answer::error(400, "AWS.SimpleQueueService.EmptyBatchRequest");
    }
    if entries.len() > 10 {
        return Answer::error(400, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest");
    }
    if ids.len() != entries.len() || ids.contains("") {
        return Answer::error(400, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct");
    }
    if bytes > BYTES_A_CALL {
        return Answer::error(400, "AWS.SimpleQueueService.BatchRequestTooLong");
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
