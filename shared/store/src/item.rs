//! Records as DynamoDB items, and what an item weighs.
//!
//! An item is the record's JSON field by field, packed so that it fits one write unit: digests are bytes instead of hexadecimal digits,
//! spans are one flat list of `start, end, weight`, empty lists of features and of what is degraded and a `provisional` that is false are left out, a score does not repeat
//! the name of the record's model, and the source of a message is one text.

use crate::StoreError;
use crate::decisions::is_open;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::{DecisionRecord, KeyedDigest, Source, TOMBSTONE_DAYS, Timestamp, Tombstone};
use std::collections::HashMap;

/// A DynamoDB item.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The attribute that the tables' time to live reads: seconds since the epoch.
pub(crate) const EXPIRES_AT: &str = "expires_at";
/// What that attribute adds to an item: its name, and ten digits.
const EXPIRES_AT_BYTES: usize = 10 + 6;

/// `days` after `since`, as the time to live reads it.
pub(crate) fn expires_at(since: Timestamp, days: u32) -> AttributeValue {
    AttributeValue::N((since.millis() / 1_000 + i64::from(days) * 86_400).to_string())
}

/// The attribute by which provisional decisions are found, and on nothing else: ordinary ones pay for no index.
const OPEN_SHARD: &str = "open_shard";
/// Over so many of its values they are spread: an index writes a thousand items a second under one.
pub(crate) const SHARDS: u8 = 8;

/// Which of them, by the last digit of the decision's id: a digest, in hexadecimal digits.
fn shard(record: &DecisionRecord) -> AttributeValue {
    AttributeValue::N((record.decision_id.bytes().last().unwrap_or_default() % SHARDS).to_string())
}

/// When what stood here was erased.
pub(crate) const ERASED_AT: &str = "erased_at";
/// Whose it was: a keyed digest.
const ERASED_AUTHOR: &str = "erased_author";

/// What stands in the place of what was erased: under its key when, whose, and until when.
pub(crate) fn bury(mut key: Item, tombstone: &Tombstone) -> Item {
    let Tombstone { erased_at, author } = tombstone;
    key.insert(ERASED_AT.to_owned(), AttributeValue::S(erased_at.to_string()));
    key.insert(EXPIRES_AT.to_owned(), expires_at(*erased_at, TOMBSTONE_DAYS));
    if let Some(author) = author {
        key.insert(ERASED_AUTHOR.to_owned(), AttributeValue::B(Blob::new(author.as_slice())));
    }
    key
}

/// The tombstone that an item is; `None` for a record.
pub(crate) fn tombstone(item: &Item) -> Option<Tombstone> {
    let erased_at = item.get(ERASED_AT)?.as_s().ok()?.parse().ok()?;
    let author = item.get(ERASED_AUTHOR).and_then(|author| KeyedDigest::try_from(author.as_b().ok()?.as_ref()).ok());
    Some(Tombstone { erased_at, author })
}

/// Where a record has digests.
const DIGESTS: [(&str, &str); 5] =
    [("policy", "sha256"), ("model", "sha256"), ("features", "sha256"), ("content", "digest"), ("content", "objects")];
/// Lists of feature names that are left out where they are empty.
const FEATURE_LISTS: [&str; 3] = ["missing", "stale", "unavailable"];
/// What a span is made of, in this order.
const SPAN: [&str; 3] = ["start", "end", "weight"];

/// The record as an item.
pub(crate) fn to_item(record: &DecisionRecord) -> Result<Item, StoreError> {
    let mut item: Item = serde_dynamo::to_item(record)
        .map_err(|_| StoreError::permanent("writing a decision as an item", "not an item"))?;
    for (outer, inner) in DIGESTS {
        replace(&mut item, outer, inner, |value| match value {
            AttributeValue::S(hex) => from_hex(hex).map(|bytes| AttributeValue::B(Blob::new(bytes))),
            _ => None,
        });
    }
    replace(&mut item, "explanation", "spans", |value| match value {
        AttributeValue::L(spans) => {
            spans.iter().map(flat).collect::<Option<Vec<_>>>().map(|flat| AttributeValue::L(flat.concat()))
        }
        _ => None,
    });
    if let Some(AttributeValue::M(features)) = item.get_mut("features") {
        features.retain(|name, value| {
            !(FEATURE_LISTS.contains(&name.as_str()) && matches!(value, AttributeValue::L(list) if list.is_empty()))
        });
    }
    if is_open(record) {
        item.insert(OPEN_SHARD.to_owned(), shard(record));
    }
    if record.degraded.is_empty() {
        item.remove("degraded");
    }
    if !record.provisional {
        item.remove("provisional");
    }
    if let Some(AttributeValue::M(scores)) = item.get_mut("scores") {
        let own = AttributeValue::S(model_name(record));
        for score in scores.values_mut() {
            if let AttributeValue::M(score) = score {
                score.retain(|name, value| name != "model" || *value != own);
            }
        }
    }
    let Source { queue, sender } = &record.source;
    if item.remove("source").is_some() {
        item.insert("source".to_owned(), AttributeValue::S(format!("{queue} {sender}")));
    }
    // An index on authors refuses a null.
    item.retain(|name, value| name != "author_id" || !value.is_null());
    Ok(item)
}

/// The record's model as scores name theirs.
fn model_name(record: &DecisionRecord) -> String {
    format!("{}@{}", record.model.name, record.model.version)
}

/// The record that an item holds.
pub(crate) fn from_item(mut item: Item) -> Result<DecisionRecord, StoreError> {
    for (outer, inner) in DIGESTS {
        replace(&mut item, outer, inner, |value| match value {
            AttributeValue::B(bytes) => Some(AttributeValue::S(to_hex(bytes.as_ref()))),
            _ => None,
        });
    }
    replace(&mut item, "explanation", "spans", |value| match value {
        AttributeValue::L(flat) => Some(AttributeValue::L(flat.chunks(SPAN.len()).map(span).collect())),
        _ => None,
    });
    if let Some(AttributeValue::M(features)) = item.get_mut("features") {
        for name in FEATURE_LISTS {
            features.entry(name.to_owned()).or_insert(AttributeValue::L(Vec::new()));
        }
    }
    item.entry("degraded".to_owned()).or_insert(AttributeValue::L(Vec::new()));
    item.entry("provisional".to_owned()).or_insert(AttributeValue::Bool(false));
    let model = item.get("model").and_then(|model| {
        let part = |name: &str| model.as_m().ok()?.get(name)?.as_s().ok();
        Some(AttributeValue::S(format!("{}@{}", part("name")?, part("version")?)))
    });
    if let (Some(AttributeValue::M(scores)), Some(model)) = (item.get_mut("scores"), model) {
        for score in scores.values_mut() {
            if let AttributeValue::M(score) = score {
                score.entry("model".to_owned()).or_insert(model.clone());
            }
        }
    }
    let source = item.get("source").and_then(|source| source.as_s().ok()).and_then(|source| source.split_once(' '));
    if let Some((queue, sender)) = source.map(|(queue, sender)| (queue.to_owned(), sender.to_owned())) {
        let parts = [("queue", queue), ("sender", sender)];
        let parts = parts.into_iter().map(|(name, part)| (name.to_owned(), AttributeValue::S(part))).collect();
        item.insert("source".to_owned(), AttributeValue::M(parts));
    }
    serde_dynamo::from_item(item)
        .map_err(|_| StoreError::permanent("reading a decision from an item", "not a decision record"))
}

/// Replaces the value at `outer.inner` by what `with` makes of it, where it makes something.
fn replace(item: &mut Item, outer: &str, inner: &str, with: impl Fn(&AttributeValue) -> Option<AttributeValue>) {
    if let Some(AttributeValue::M(map)) = item.get_mut(outer)
        && let Some(value) = map.get_mut(inner)
        && let Some(replaced) = with(value)
    {
        *value = replaced;
    }
}

fn flat(span: &AttributeValue) -> Option<Vec<AttributeValue>> {
    let span = span.as_m().ok()?;
    SPAN.iter().map(|name| span.get(*name).cloned()).collect()
}

fn span(flat: &[AttributeValue]) -> AttributeValue {
    AttributeValue::M(SPAN.iter().map(|name| (*name).to_owned()).zip(flat.iter().cloned()).collect())
}

/// The bytes of a digest in lower-case hexadecimal digits; `None` for anything that would not read back the same.
fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let bytes: Option<Vec<u8>> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
    bytes.filter(|bytes| to_hex(bytes) == hex)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that DynamoDB counts for a record with its time to live: UTF-8 names and values, a number half a byte a digit plus one, three
/// bytes a list or map plus one an element ("Item sizes and formats" in the developer guide).
#[must_use]
pub fn item_size(record: &DecisionRecord) -> usize {
    let attributes = |item: Item| item.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
    to_item(record).map_or(0, attributes) + EXPIRES_AT_BYTES
}

fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.bytes().filter(u8::is_ascii_digit).count().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + size(value)).sum::<usize>(),
        AttributeValue::M(map) => 3 + map.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>(),
        _ => 1,
    }
}

/// Write units of a write of `bytes`: one a begun kilobyte.
#[must_use]
pub fn write_units(bytes: usize) -> usize {
    bytes.div_ceil(1024).max(1)
}
