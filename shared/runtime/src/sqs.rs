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
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    sent_timestamp: Option<String>,
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
    /// The body, or what of it could be kept.
    pub body: Result<String, BodyError>,
    /// When it was sent, in milliseconds since the epoch, where the queue says.
    pub sent_at_ms: Option<i64>,
}

/// The body is no Unicode text.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body is not Unicode text")]
pub struct BodyError {
    /// The body as it stood in the event: a JSON string with its escapes.
    pub original: String,
}

impl std::fmt::Debug for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyError")
    }
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
        Self {
            message_id: raw.message_id,
            body: serde_json::from_str(original).map_err(|_| BodyError { original: original.to_owned() }),
            sent_at_ms: raw.attributes.sent_timestamp.and_then(|text| text.parse().ok()),
        }
    }
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
        assert_eq!(batch.messages[0].body, Ok("{}".to_owned()));
        assert_eq!(batch.messages[0].sent_at_ms, Some(1_795_000_000_000));
        assert_eq!(batch.messages[1].body.as_ref().unwrap_err().original, r#""half a pair: \ud83d""#);
        assert_eq!(batch.messages[2].body, Ok("\0 control".to_owned()));
        assert_eq!(batch.messages[2].sent_at_ms, None);
        assert!(parse(r#"{"detail":{}}"#).is_err());
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
