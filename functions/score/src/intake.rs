//! Intake by shape: what a message body may be, told apart by what stands in it.
//!
//! Native post, CloudEvents 1.0 structured, SNS envelope, EventBridge event, S3 notification, pointer of the SQS Extended Client; lists
//! and lines of posts and CloudEvents; each may be wrapped in an SNS envelope again. Anything else is rejected with a typed reason,
//! never dropped.

use base64::Engine;
use domain::json::{self, Documents, NotJson, Repairs};
use domain::{About, Post, PostError, PostErrorKind, Timestamp};
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::Read;

/// Envelopes inside envelopes: SNS around EventBridge around a notification is deep enough.
const MAX_ENVELOPES: usize = 4;
/// A message or an object with more entries than this is split into several messages, or rejected where its entries are addresses.
pub const MAX_ENTRIES: usize = 10;
/// The largest object that is read, in bytes, packed or unpacked; a post in it has [`MAX_POST_BYTES`] at most.
pub const MAX_OBJECT_BYTES: usize = 8 * 1024 * 1024;
/// A message that is split off another has no more, with room for what stands around it: SQS takes 1 MiB.
const MAX_BODY_BYTES: usize = 900_000;
/// What the SQS Extended Client writes before the address of a body, in its present and its former spelling.
const POINTERS: [&str; 2] =
    ["software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer"];
/// Fields that only an envelope has.
const ENVELOPES: [&str; 4] = ["specversion", "Type", "detail-type", "Records"];
/// Events of S3 after which there is nothing to decide.
const GONE: [&str; 2] = ["ObjectRemoved", "LifecycleExpiration"];

/// What a message asks for.
pub enum Intake {
    /// To decide this post.
    Post(Box<Post>),
    /// To decide what this object holds.
    Object {
        /// Its bucket.
        bucket: String,
        /// Its key, decoded.
        key: String,
    },
    /// To decide more posts than one message may hold: bodies of messages with [`MAX_ENTRIES`] each.
    Many(Vec<String>),
    /// Nothing: this entry cannot be read, and its neighbours can.
    Unreadable(Reject),
}

/// Why a message asks for nothing that can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The typed reason: a [`PostErrorKind`], `unknown_shape` or `too_many_records`.
    pub kind: &'static str,
    /// What is wrong, without content.
    pub detail: String,
    /// The post that it is about, where that much can be read.
    pub about: Option<Box<About>>,
}

impl Reject {
    /// A reason that names no post.
    #[must_use]
    pub fn new(kind: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), about: None }
    }
}

impl From<PostError> for Reject {
    fn from(error: PostError) -> Self {
        Self { kind: error.kind.as_str(), detail: error.message, about: error.about }
    }
}

fn reject(kind: PostErrorKind, detail: &str) -> Reject {
    Reject::new(kind.as_str(), detail)
}

/// Reads a message body. A list or a notification may name several posts or objects, and a test event none.
///
/// # Errors
/// A typed reason for quarantine.
pub fn read(body: &[u8]) -> Result<Vec<Intake>, Reject> {
    let Documents { values, repairs } = documents(body)?;
    several(values, repairs, MAX_ENVELOPES)
}

/// Reads an object: what a message may be, but no further address; packed with gzip or not. Bytes that are no characters are replaced, and
/// of a packed object that ends early, or is too large, what could be unpacked is read: one line loses no other.
///
/// # Errors
/// A typed reason for quarantine.
pub fn read_object(bytes: &[u8]) -> Result<Vec<Intake>, Reject> {
    let (bytes, rest) = if bytes.starts_with(&[0x1f, 0x8b]) { unpack(bytes)? } else { (Cow::Borrowed(bytes), None) };
    let text = String::from_utf8_lossy(&bytes);
    let replaced = matches!(text, Cow::Owned(_));
    let Documents { values, repairs } = documents(text.as_bytes())?;
    let repairs = repairs.and(Repairs { characters: replaced, json: false });
    let mut intakes = several(values, repairs, MAX_ENVELOPES)?;
    for intake in &mut intakes {
        if matches!(intake, Intake::Object { .. }) {
            *intake = Intake::Unreadable(Reject::new("unknown_shape", "the object names another object"));
        }
    }
    intakes.extend(rest.map(Intake::Unreadable));
    Ok(intakes)
}

/// What a packed object holds, as far as it is read, and why not further.
fn unpack(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, Option<Reject>), Reject> {
    let mut unpacked = Vec::new();
    // One byte more than is taken tells that there is more.
    let most = MAX_OBJECT_BYTES as u64 + 1;
    let whole = MultiGzDecoder::new(bytes).take(most).read_to_end(&mut unpacked);
    let rest = if unpacked.len() > MAX_OBJECT_BYTES {
        let detail = format!("unpacked, the object has more than {MAX_OBJECT_BYTES} bytes");
        Some(Reject::new(PostErrorKind::TooLarge.as_str(), detail))
    } else {
        whole
            .err()
            .map(|_| reject(PostErrorKind::InvalidJson, "the object is packed with gzip, and ends early or is damaged"))
    };
    match rest {
        Some(reject) if unpacked.is_empty() => Err(reject),
        rest => Ok((Cow::Owned(unpacked), rest)),
    }
}

/// The JSON documents of a body; where they are lines, one that is no JSON does not lose the others.
fn documents(body: &[u8]) -> Result<Documents, Reject> {
    let not_json: NotJson = match json::read(body) {
        Ok(documents) => return Ok(documents),
        Err(not_json) => not_json,
    };
    let error = not_json.salvaged(body);
    let lines: Vec<&[u8]> = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    if !matches!(error.kind, PostErrorKind::InvalidJson | PostErrorKind::TooLarge) || lines.len() < 2 {
        return Err(error.into());
    }
    let (mut values, mut repairs, mut read) = (Vec::new(), Repairs::default(), 0);
    for line in lines {
        match json::read(line) {
            Ok(mut documents) => {
                read += documents.values.iter().filter(|value| value.is_object()).count();
                repairs = repairs.and(documents.repairs);
                values.append(&mut documents.values);
            }
            // What is no JSON stays in its place as the text that it is: no post, and rejected as such.
            Err(_) => values.push(Value::String(String::from_utf8_lossy(line).into_owned())),
        }
    }
    if read == 0 { Err(error.into()) } else { Ok(Documents { values, repairs }) }
}

/// Several documents, or the one there is.
fn several(mut values: Vec<Value>, repairs: Repairs, envelopes: usize) -> Result<Vec<Intake>, Reject> {
    if values.len() == 1
        && let Some(value) = values.pop()
    {
        return unwrap(value, repairs, envelopes);
    }
    if values.len() > MAX_ENTRIES {
        return Ok(vec![Intake::Many(split(values))]);
    }
    let entries: Vec<_> = values.into_iter().map(|value| entry(value, repairs, envelopes)).collect();
    together(entries)
}

/// Lists of at most [`MAX_ENTRIES`] each, and of no more bytes than a message takes.
fn split(values: Vec<Value>) -> Vec<String> {
    let (mut bodies, mut open, mut bytes) = (Vec::new(), Vec::new(), 0);
    for value in values {
        let json = value.to_string();
        let ascii = json::ascii(&json);
        // One that is too long in ASCII keeps its letters, which SQS takes.
        let entry = if ascii.len() <= MAX_BODY_BYTES { ascii } else { json::escape_noncharacters(&json) };
        if !open.is_empty() && (open.len() == MAX_ENTRIES || bytes + entry.len() > MAX_BODY_BYTES) {
            bodies.push(list_of(&mut open));
            bytes = 0;
        }
        bytes += entry.len() + 1;
        open.push(entry);
    }
    bodies.push(list_of(&mut open));
    bodies
}

fn list_of(entries: &mut Vec<String>) -> String {
    format!("[{}]", std::mem::take(entries).join(","))
}

/// What a message begins with that was split off another: when that one reached the queue.
const SENT_AT: &str = r#"{"sent_at":""#;
/// What follows the time.
const POSTS: &str = r#"","posts":"#;

/// The body of a message that is split off one that reached the queue at `sent_at`: who was erased after that is not decided anew.
#[must_use]
pub fn put_back(sent_at: Timestamp, list: &str) -> String {
    format!("{SENT_AT}{sent_at}{POSTS}{list}}}")
}

/// The list in a body that [`put_back`] made, and when it reached the queue first.
#[must_use]
pub fn was_put_back(body: &[u8]) -> Option<(Timestamp, &[u8])> {
    let rest = body.strip_prefix(SENT_AT.as_bytes())?.strip_suffix(b"}")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let sent_at = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
    Some((sent_at, rest.get(end..)?.strip_prefix(POSTS.as_bytes())?))
}

/// One of several: a line that is no JSON stands here as text.
fn entry(value: Value, repairs: Repairs, envelopes: usize) -> Result<Vec<Intake>, Reject> {
    match value {
        Value::String(line) => {
            let about = About::find(line.as_bytes()).map(Box::new);
            Err(Reject { about, ..reject(PostErrorKind::InvalidJson, "one of several entries is not JSON") })
        }
        Value::Array(_) => Err(Reject::new("unknown_shape", "a list inside a list")),
        value => unwrap(value, repairs, envelopes),
    }
}

/// The entries that can be read, and why the others cannot; an error where none can.
fn together(entries: Vec<Result<Vec<Intake>, Reject>>) -> Result<Vec<Intake>, Reject> {
    // One quarantine object a message: where no entry can be read and none names a post, one reason stands for all.
    if entries.iter().all(|entry| matches!(entry, Err(reject) if reject.about.is_none())) {
        return entries.into_iter().next().unwrap_or_else(|| Ok(Vec::new()));
    }
    Ok(entries.into_iter().flat_map(|entry| entry.unwrap_or_else(|reject| vec![Intake::Unreadable(reject)])).collect())
}

fn unwrap(value: Value, repairs: Repairs, envelopes: usize) -> Result<Vec<Intake>, Reject> {
    let mut fields = match value {
        Value::Object(fields) => fields,
        Value::Array(entries) => return list(entries, repairs, envelopes),
        _ => return Err(Reject::new("unknown_shape", "the body is JSON, but no object")),
    };
    if envelopes == 0 {
        return Err(Reject {
            about: about(&fields),
            ..Reject::new("unknown_shape", "too many envelopes inside each other")
        });
    }
    if fields.contains_key("post_id") {
        return post_and_envelope(fields, repairs, envelopes);
    }
    if fields.contains_key("specversion") {
        return cloud_event(fields, repairs);
    }
    if fields.get("Type").and_then(Value::as_str) == Some("Notification") && fields.contains_key("Message") {
        return match fields.remove("Message") {
            Some(Value::String(message)) => {
                let Documents { values, repairs: inside } = documents(message.as_bytes())?;
                several(values, repairs.and(inside), envelopes - 1)
            }
            _ => Err(reject(PostErrorKind::InvalidField, "`Message` of the SNS envelope must be a string")),
        };
    }
    if fields.contains_key("detail-type") {
        return event_bridge(fields, repairs);
    }
    if fields.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Ok(Vec::new());
    }
    if let Some(Value::Array(records)) = fields.get("Records")
        && !records.is_empty()
    {
        if records.len() > MAX_ENTRIES {
            let detail =
                format!("{} records are more than the {MAX_ENTRIES} that one notification may have", records.len());
            return Err(Reject::new("too_many_records", detail));
        }
        return together(records.iter().map(notified_object).collect());
    }
    if fields.contains_key("text") || fields.contains_key("text_ref") {
        return Err(reject(PostErrorKind::MissingField, "`post_id` is required"));
    }
    Err(Reject::new("unknown_shape", "neither a post nor CloudEvents, SNS, EventBridge or an S3 notification"))
}

/// A post, which may be an envelope besides: the post in that is public too. Other fields that a post does not have are ignored.
fn post_and_envelope(fields: Map<String, Value>, repairs: Repairs, envelopes: usize) -> Result<Vec<Intake>, Reject> {
    let inside = ENVELOPES.iter().any(|name| fields.contains_key(*name)).then(|| {
        let mut envelope = fields.clone();
        envelope.remove("post_id");
        unwrap(Value::Object(envelope), repairs, envelopes)
    });
    let own = post(Value::Object(fields), repairs);
    match inside {
        None | Some(Err(Reject { about: None, .. })) => own,
        Some(inside) => together(vec![own, inside]),
    }
}

fn post(value: Value, repairs: Repairs) -> Result<Vec<Intake>, Reject> {
    Ok(vec![Intake::Post(Box::new(Post::from_value(value, repairs)?))])
}

fn about(fields: &Map<String, Value>) -> Option<Box<About>> {
    About::read(fields).map(Box::new)
}

/// A list of posts or CloudEvents, or a pointer of the SQS Extended Client.
fn list(entries: Vec<Value>, repairs: Repairs, envelopes: usize) -> Result<Vec<Intake>, Reject> {
    if let [Value::String(name), pointer] = entries.as_slice()
        && POINTERS.contains(&name.as_str())
    {
        let part = |name: &str| pointer.get(name).and_then(Value::as_str).map(str::to_owned);
        return match (part("s3BucketName"), part("s3Key")) {
            (Some(bucket), Some(key)) => Ok(vec![Intake::Object { bucket, key }]),
            _ => Err(reject(PostErrorKind::MissingField, "the pointer must have `s3BucketName` and `s3Key`")),
        };
    }
    if !entries.iter().any(Value::is_object) {
        return Err(Reject::new("unknown_shape", "the body is a list without an object"));
    }
    match entries.len() {
        1 => together(entries.into_iter().map(|value| entry(value, repairs, envelopes)).collect()),
        _ => several(entries, repairs, envelopes),
    }
}

/// The post in text: CloudEvents and EventBridge may carry it so.
fn post_in_text(text: &str, repairs: Repairs) -> Result<Vec<Intake>, Reject> {
    let Documents { mut values, repairs: inside } =
        json::read(text.as_bytes()).map_err(|not_json| not_json.salvaged(text.as_bytes()))?;
    match (values.pop(), values.is_empty()) {
        (Some(value), true) => post(value, repairs.and(inside)),
        _ => Err(reject(PostErrorKind::InvalidJson, "more than one JSON document")),
    }
}

fn cloud_event(mut fields: Map<String, Value>, repairs: Repairs) -> Result<Vec<Intake>, Reject> {
    if !fields.get("specversion").and_then(Value::as_str).is_some_and(|version| version.starts_with("1.")) {
        let about = fields.get("data").and_then(Value::as_object).and_then(about);
        return Err(Reject { about, ..reject(PostErrorKind::InvalidField, "`specversion` must be `1.0`") });
    }
    let data = fields.remove("data").filter(|data| !data.is_null());
    match (data, fields.remove("data_base64").filter(|data| !data.is_null())) {
        (Some(data), Some(_)) => {
            let about = data.as_object().and_then(about);
            Err(Reject {
                about,
                ..reject(PostErrorKind::InvalidField, "the CloudEvent has both `data` and `data_base64`")
            })
        }
        (Some(data @ Value::Object(_)), _) => post(data, repairs),
        (Some(Value::String(data)), _) => post_in_text(&data, repairs),
        (None, Some(Value::String(data))) => {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(data)
                .map_err(|_| reject(PostErrorKind::InvalidField, "`data_base64` is not Base64"))?;
            let text = std::str::from_utf8(&bytes).map_err(|error| {
                let about = About::find(&bytes).map(Box::new);
                let detail = format!("`data_base64` is not UTF-8 after byte {}", error.valid_up_to());
                Reject { about, ..Reject::new(PostErrorKind::InvalidUtf8.as_str(), detail) }
            })?;
            post_in_text(text, repairs)
        }
        (None, None) => Err(reject(PostErrorKind::MissingField, "`data` of the CloudEvent is required")),
        _ => Err(reject(PostErrorKind::InvalidField, "`data` of the CloudEvent must be a post")),
    }
}

fn event_bridge(mut fields: Map<String, Value>, repairs: Repairs) -> Result<Vec<Intake>, Reject> {
    let from_s3 = fields.get("source").and_then(Value::as_str) == Some("aws.s3");
    let kind = fields.get("detail-type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match fields.remove("detail") {
        Some(_) if from_s3 && kind == "Object Deleted" => Ok(Vec::new()),
        // EventBridge, unlike S3 itself, gives the key as it is.
        Some(detail) if from_s3 => {
            let name = |path: &str| detail.pointer(path).and_then(Value::as_str).map(str::to_owned);
            match (name("/bucket/name"), name("/object/key")) {
                (Some(_), Some(key)) if is_folder(&key, detail.pointer("/object/size")) => Ok(Vec::new()),
                (Some(bucket), Some(key)) => Ok(vec![Intake::Object { bucket, key }]),
                _ => Err(reject(PostErrorKind::MissingField, "the S3 event must name a bucket and a key")),
            }
        }
        Some(Value::String(detail)) => post_in_text(&detail, repairs),
        Some(detail) => post(detail, repairs),
        None => Err(reject(PostErrorKind::MissingField, "`detail` of the EventBridge event is required")),
    }
}

/// The console of S3 makes a folder as an empty object whose key ends in a slash.
fn is_folder(key: &str, size: Option<&Value>) -> bool {
    key.ends_with('/') && size.and_then(Value::as_u64) == Some(0)
}

fn notified_object(record: &Value) -> Result<Vec<Intake>, Reject> {
    let name = |path: &str| record.pointer(path).and_then(Value::as_str);
    let (Some(bucket), Some(key)) = (name("/s3/bucket/name"), name("/s3/object/key")) else {
        return Err(Reject::new("unknown_shape", "`Records` is not a list of S3 notifications"));
    };
    let event = name("/eventName").unwrap_or_default();
    let event = event.strip_prefix("s3:").unwrap_or(event);
    if GONE.iter().any(|gone| event.starts_with(gone)) || is_folder(key, record.pointer("/s3/object/size")) {
        return Ok(Vec::new());
    }
    // S3 notifications write keys as in a form: a space is `+`.
    let spaced = key.replace('+', " ");
    let key = percent_encoding::percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| reject(PostErrorKind::InvalidUtf8, "the key of the S3 notification is not UTF-8"))?
        .into_owned();
    Ok(vec![Intake::Object { bucket: bucket.to_owned(), key }])
}
