//! The SQS event as Lambda delivers it, and the partial batch response.

use crate::Error;
use crate::planted::planted;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct RawBatch {
    #[serde(rename = "Records")]
    records: Vec<RawMessage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMessage {
    message_id: String,
    // Raw, because a body with an unpaired surrogate is no string, and must not fail its neighbours.
    body: Box<RawValue>,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default, rename = "eventSourceARN")]
    event_source_arn: String,
    receipt_handle: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    sent_timestamp: Option<String>,
    sender_id: Option<String>,
    approximate_receive_count: Option<String>,
}

/// A batch of messages.
pub struct SqsBatch {
    /// In the order of delivery.
    pub messages: Vec<SqsMessage>,
}

/// One message. No `Debug`: its body must not end up in a log.
pub struct SqsMessage {
    /// Names the delivery to the batch report; not an idempotency key.
    pub message_id: String,
    /// The body. Halves of surrogate pairs, which are no characters, are replaced by U+FFFD.
    pub body: String,
    /// `true` where something in the body was replaced.
    pub replaced: bool,
    /// When it was sent, in milliseconds since the epoch, where the queue says.
    pub sent_at_ms: Option<i64>,
    /// How often it was received, this time included; 1 where the queue does not say.
    pub receive_count: u32,
    /// Names this delivery to the queue, where the event says: what it takes to have the message again sooner or later than others.
    pub receipt: Option<String>,
    /// Name of the queue it was sent to; empty where the event does not say.
    pub queue: String,
    /// The user or role id of the sender; empty where the event does not say.
    pub sender: String,
}

impl SqsBatch {
    /// Reads an SQS event.
    ///
    /// # Errors
    /// Where it is not one: the function is wired to something else; or where a message has an empty id.
    pub fn parse(event: &RawValue) -> Result<Self, Error> {
        let batch: RawBatch = serde_json::from_str(event.get())
            .map_err(|_| Error::from("the event is not an SQS event: is this function's source a queue?"))?;
        // Lambda could not be told that this message failed; nothing has been done yet, so all of them come again.
        if batch.records.iter().any(|message| message.message_id.is_empty()) {
            return Err(Error::from("the event has a message without an id"));
        }
        Ok(Self { messages: batch.records.into_iter().map(SqsMessage::from).collect() })
    }
}

impl From<RawMessage> for SqsMessage {
    fn from(raw: RawMessage) -> Self {
        let original = raw.body.get();
        let (body, replaced) = match serde_json::from_str(original) {
            Ok(body) => (body, false),
            // A body that is no JSON string at all, which no queue sends, stays as it is.
            Err(_) => (serde_json::from_str(&whole_pairs(original)).unwrap_or_else(|_| original.to_owned()), true),
        };
        Self {
            message_id: raw.message_id,
            body,
            replaced,
            sent_at_ms: raw.attributes.sent_timestamp.and_then(|text| text.parse().ok()),
            receive_count: raw.attributes.approximate_receive_count.and_then(|text| text.parse().ok()).unwrap_or(1),
            receipt: raw.receipt_handle,
            queue: raw.event_source_arn.rsplit(':').next().unwrap_or_default().to_owned(),
            sender: raw.attributes.sender_id.unwrap_or_default(),
        }
    }
}

/// A JSON string whose escaped halves of surrogate pairs (`\ud83d` without its second half) are U+FFFD instead.
fn whole_pairs(json: &str) -> String {
    let unit = |at: &str| at.strip_prefix("\\u").and_then(|hex| u16::from_str_radix(hex.get(..4)?, 16).ok());
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(escape) = rest.find('\\') {
        let (before, from) = rest.split_at(escape);
        out.push_str(before);
        let second = from.get(6..).and_then(unit);
        let length = match unit(from) {
            Some(0xD800..=0xDBFF) if matches!(second, Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                out.push('\u{FFFD}');
                rest = from.get(6..).unwrap_or_default();
                continue;
            }
            Some(_) => 6,
            None => 1 + from.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (kept, after) = from.split_at(length.min(from.len()));
        out.push_str(kept);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Which messages are to be delivered again: Lambda deletes all others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    batch_item_failures: Vec<BatchItemFailure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchItemFailure {
    item_identifier: String,
}

impl BatchResponse {
    /// Asks for these messages again. Ids are those of the batch: an empty or unknown one would fail it whole.
    pub fn deliver_again<'a>(messages: impl IntoIterator<Item = &'a SqsMessage>) -> Self {
        let failures = messages.into_iter().map(|message| BatchItemFailure {
            item_identifier: if planted("empty-item-identifier") { String::new() } else { message.message_id.clone() },
        });
        Self { batch_item_failures: failures.collect() }
    }

    /// Ids of the messages that are to be delivered again.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]
    use super::*;

    fn parse(json: &str) -> Result<SqsBatch, Error> {
        SqsBatch::parse(&serde_json::from_str::<Box<RawValue>>(json).unwrap())
    }

    #[test]
    fn a_body_that_is_no_text_fails_alone() {
        let batch = parse(
            r#"{"Records":[
                {"messageId":"a","body":"{}","attributes":{"SentTimestamp":"1795000000000"}},
                {"messageId":"b","body":"half a pair: \ud83d","attributes":{}},
                {"messageId":"c","body":"\u0000 control"}]}"#,
        )
        .unwrap();
        assert_eq!((batch.messages[0].body.as_str(), batch.messages[0].replaced), ("{}", false));
        assert_eq!(batch.messages[0].sent_at_ms, Some(1_795_000_000_000));
        assert_eq!((batch.messages[1].body.as_str(), batch.messages[1].replaced), ("half a pair: \u{FFFD}", true));
        assert_eq!((batch.messages[2].body.as_str(), batch.messages[2].replaced), ("\0 control", false));
        assert_eq!(batch.messages[2].sent_at_ms, None);
        assert!(parse(r#"{"detail":{}}"#).is_err());
    }

    #[test]
    fn only_halves_of_pairs_are_replaced() {
        for (json, text) in [
            (r#""\ud83d""#, "\u{FFFD}"),
            (r#""a\udc00b\ud83d\ude00""#, "a\u{FFFD}b\u{1F600}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{FFFD}\u{1F600}"),
            (r#""\ud83d\n\\ud83d""#, "\u{FFFD}\n\\ud83d"),
            (r#""\\\ud83d é""#, "\\\u{FFFD} é"),
        ] {
            let event = format!(
                r#"{{"Records":[{{"messageId":"a","body":{json},"eventSourceARN":"arn:aws:sqs:r:1:q","attributes":{{"SenderId":"s"}}}}]}}"#
            );
            let batch = parse(&event).unwrap();
            let message = &batch.messages[0];
            assert_eq!((message.body.as_str(), message.replaced), (text, true), "{json}");
            assert_eq!((message.queue.as_str(), message.sender.as_str()), ("q", "s"));
        }
    }

    #[test]
    fn a_message_says_how_often_it_came() {
        let batch = parse(
            r#"{"Records":[{"messageId":"a","receiptHandle":"r","body":"","attributes":{"ApproximateReceiveCount":"7"}},
                {"messageId":"b","body":"","attributes":{"ApproximateReceiveCount":"often"}}]}"#,
        )
        .unwrap();
        assert_eq!((batch.messages[0].receive_count, batch.messages[0].receipt.as_deref()), (7, Some("r")));
        assert_eq!((batch.messages[1].receive_count, batch.messages[1].receipt.as_deref()), (1, None));
    }

    #[test]
    fn the_report_has_the_shape_that_lambda_reads() {
        let batch = parse(r#"{"Records":[{"messageId":"a","body":""},{"messageId":"b","body":""}]}"#).unwrap();
        let report = BatchResponse::deliver_again(&batch.messages[1..]);
        assert_eq!(serde_json::to_string(&report).unwrap(), r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#);
        let none = BatchResponse::deliver_again(&[]);
        assert_eq!(serde_json::to_string(&none).unwrap(), r#"{"batchItemFailures":[]}"#);
    }
}
