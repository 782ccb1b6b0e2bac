//! Records as DynamoDB items, and what an item weighs.

use crate::StoreError;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::{DecisionRecord, Timestamp};
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

/// The record as an item: its JSON field by field.
pub(crate) fn to_item(record: &DecisionRecord) -> Result<Item, StoreError> {
    serde_dynamo::to_item(record).map_err(|_| StoreError::permanent("writing a decision as an item", "not an item"))
}

/// The record that an item holds.
pub(crate) fn from_item(item: Item) -> Result<DecisionRecord, StoreError> {
    serde_dynamo::from_item(item)
        .map_err(|_| StoreError::permanent("reading a decision from an item", "not a decision record"))
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
