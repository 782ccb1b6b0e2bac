//! Intake by shape: what a message body may be, told apart by what stands in it.
//!
//! Native post, CloudEvents 1.0 structured, SNS envelope, EventBridge event, S3 notification; each may be wrapped in an
//! SNS envelope again. Whatever is none of these is rejected with a typed reason, never dropped.

use base64::Engine;
use domain::{Post, PostError, PostErrorKind, post::parse_json};
use serde_json::{Map, Value};

/// Envelopes inside envelopes: SNS around EventBridge around a notification is deep enough.
const MAX_ENVELOPES: usize = 4;

/// What a message asks for.
pub enum Intake {
    /// To decide this post.
    Post(Box<Post>),
    /// To decide the post that this object holds.
    Object {
        /// Its bucket.
        bucket: String,
        /// Its key, decoded.
        key: String,
    },
    /// Nothing: this entry of a notification names no object, and its neighbours do.
    Unreadable(Reject),
}

/// Why a message asks for nothing that can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The typed reason: a [`PostErrorKind`], or `unknown_shape`.
    pub kind: &'static str,
    /// What is wrong, without content.
    pub detail: String,
}

impl From<PostError> for Reject {
    fn from(error: PostError) -> Self {
        Self { kind: error.kind.as_str(), detail: error.message }
    }
}

fn reject(kind: PostErrorKind, detail: &str) -> Reject {
    Reject { kind: kind.as_str(), detail: detail.to_owned() }
}

/// Reads a message body. An S3 notification may name several objects, and a test event none.
///
/// # Errors
/// A typed reason for quarantine.
pub fn read(body: &[u8]) -> Result<Vec<Intake>, Reject> {
    unwrap(parse_json(body)?, MAX_ENVELOPES)
}

fn unwrap(value: Value, envelopes: usize) -> Result<Vec<Intake>, Reject> {
    let Value::Object(mut fields) = value else {
        return Err(Reject { kind: "unknown_shape", detail: "the body is JSON, but no object".to_owned() });
    };
    if envelopes == 0 {
        return Err(Reject { kind: "unknown_shape", detail: "too many envelopes inside each other".to_owned() });
    }
    if fields.contains_key("post_id") {
        return Ok(vec![Intake::Post(Box::new(Post::from_value(Value::Object(fields))?))]);
    }
    if fields.contains_key("specversion") {
        return cloud_event(fields);
    }
    if fields.get("Type").and_then(Value::as_str) == Some("Notification") && fields.contains_key("Message") {
        return match fields.remove("Message") {
            Some(Value::String(message)) => unwrap(parse_json(message.as_bytes())?, envelopes - 1),
            _ => Err(reject(PostErrorKind::InvalidField, "`Message` of the SNS envelope must be a string")),
        };
    }
    if fields.contains_key("detail-type") {
        return event_bridge(fields);
    }
    if fields.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    if let Some(Value::Array(records)) = fields.get("Records")
        && !records.is_empty()
    {
        let entries: Vec<_> = records.iter().map(notified_object).collect();
        if entries.iter().all(Result::is_err) {
            return entries.into_iter().collect();
        }
        return Ok(entries.into_iter().map(|entry| entry.unwrap_or_else(Intake::Unreadable)).collect());
    }
    if fields.contains_key("text") || fields.contains_key("text_ref") {
        return Err(reject(PostErrorKind::MissingField, "`post_id` is required"));
    }
    Err(Reject {
        kind: "unknown_shape",
        detail: "neither a post nor CloudEvents, SNS, EventBridge or an S3 notification".to_owned(),
    })
}

fn cloud_event(mut fields: Map<String, Value>) -> Result<Vec<Intake>, Reject> {
    if !fields.get("specversion").and_then(Value::as_str).is_some_and(|version| version.starts_with("1.")) {
        return Err(reject(PostErrorKind::InvalidField, "`specversion` must be `1.0`"));
    }
    let post = match (fields.remove("data"), fields.remove("data_base64")) {
        (Some(data @ Value::Object(_)), _) => Post::from_value(data)?,
        (Some(Value::String(data)), _) => Post::parse(data.as_bytes())?,
        (None, Some(Value::String(data))) => {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(data)
                .map_err(|_| reject(PostErrorKind::InvalidField, "`data_base64` is not Base64"))?;
            Post::parse(&bytes)?
        }
        (None | Some(Value::Null), None) => {
            return Err(reject(PostErrorKind::MissingField, "`data` of the CloudEvent is required"));
        }
        _ => return Err(reject(PostErrorKind::InvalidField, "`data` of the CloudEvent must be a post")),
    };
    Ok(vec![Intake::Post(Box::new(post))])
}

fn event_bridge(mut fields: Map<String, Value>) -> Result<Vec<Intake>, Reject> {
    let from_s3 = fields.get("source").and_then(Value::as_str) == Some("aws.s3");
    match fields.remove("detail") {
        // EventBridge, unlike S3 itself, gives the key as it is.
        Some(detail) if from_s3 => {
            let name = |path: &str| detail.pointer(path).and_then(Value::as_str).map(str::to_owned);
            match (name("/bucket/name"), name("/object/key")) {
                (Some(bucket), Some(key)) => Ok(vec![Intake::Object { bucket, key }]),
                _ => Err(reject(PostErrorKind::MissingField, "the S3 event must name a bucket and a key")),
            }
        }
        Some(detail) => Ok(vec![Intake::Post(Box::new(Post::from_value(detail)?))]),
        None => Err(reject(PostErrorKind::MissingField, "`detail` of the EventBridge event is required")),
    }
}

fn notified_object(record: &Value) -> Result<Intake, Reject> {
    let name = |path: &str| record.pointer(path).and_then(Value::as_str);
    let (Some(bucket), Some(key)) = (name("/s3/bucket/name"), name("/s3/object/key")) else {
        return Err(Reject { kind: "unknown_shape", detail: "`Records` is not a list of S3 notifications".to_owned() });
    };
    // S3 notifications write keys as in a form: a space is `+`.
    let spaced = key.replace('+', " ");
    let key = percent_encoding::percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| reject(PostErrorKind::InvalidUtf8, "the key of the S3 notification is not UTF-8"))?
        .into_owned();
    Ok(Intake::Object { bucket: bucket.to_owned(), key })
}
