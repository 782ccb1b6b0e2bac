//! As much of DynamoDB as Moderato asks for, with its rules: a batch holds no key twice, an insert never replaces.

use crate::cloud::{Answer, Cloud, Partial};
use crate::condition;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

/// An item: attribute values by name, in DynamoDB's JSON.
pub type Item = Map<String, Value>;

/// An item as it is kept: its JSON, since the maps of one take twenty times as much.
#[derive(Clone)]
pub struct Packed(Arc<[u8]>);

impl Packed {
    /// Packs an item.
    #[must_use]
    pub fn of(item: &Item) -> Self {
        Self(serde_json::to_vec(item).unwrap().into())
    }

    /// The item.
    #[must_use]
    pub fn item(&self) -> Item {
        serde_json::from_slice(&self.0).unwrap()
    }
}

/// One write that was carried out.
#[derive(Clone)]
pub struct Write {
    /// What stands there now.
    pub item: Arc<Item>,
    /// The operation, or whoever else wrote it.
    pub by: String,
    /// Whether something stood there before.
    pub replaced: bool,
    /// When.
    pub at: Instant,
}

/// Hash key and range key: numbers sort as numbers.
type Key = (String, u64);

#[derive(Default)]
struct Table {
    items: BTreeMap<Key, Packed>,
    /// Those that nobody has seen yet.
    writes: Vec<Write>,
    /// How many were seen.
    seen: usize,
}

#[derive(Default)]
pub(crate) struct Tables(BTreeMap<String, Table>);

impl Tables {
    fn table(&mut self, name: &str) -> &mut Table {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), Table::default());
        }
        self.0.get_mut(name).unwrap()
    }

    pub(crate) fn writes(&mut self, table: &str, known: usize) -> Vec<Write> {
        let table = self.table(table);
        assert!(known >= table.seen, "what somebody knew is forgotten");
        let known = (known - table.seen).min(table.writes.len());
        table.writes.drain(..known);
        table.seen += known;
        table.writes.clone()
    }

    pub(crate) fn put(&mut self, table: &str, item: Item, by: &str) {
        let table = self.table(table);
        let key = key(&item);
        let replaced = table.items.insert(key, Packed::of(&item)).is_some();
        let item = Arc::new(item);
        table.writes.push(Write { item, by: by.to_owned(), replaced, at: Instant::now() });
    }

    pub(crate) fn remove(&mut self, table: &str, item: &Item) {
        self.table(table).items.remove(&key(item));
    }

    pub(crate) fn item(&self, table: &str, item: &Item) -> Option<Item> {
        self.0.get(table)?.items.get(&key(item)).map(Packed::item)
    }
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.get("S")?.as_str()
}

fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.get("N")?.as_str()?.parse().ok()
}

/// The two tables: `entity`, or `post_id` and `revision`.
fn key(item: &Item) -> Key {
    match text(item, "entity") {
        Some(entity) => (entity.to_owned(), 0),
        None => (text(item, "post_id").unwrap_or_default().to_owned(), number(item, "revision").unwrap_or(0)),
    }
}

fn shown(key: &Key) -> String {
    format!("{}#{}", key.0, key.1)
}

pub(crate) fn answer(cloud: &Cloud, operation: &str, body: &[u8], partial: &mut dyn Partial) -> Answer {
    let Ok(Value::Object(request)) = serde_json::from_slice(body) else {
        return Answer::error(400, "SerializationException");
    };
    let tables = &mut cloud.state().tables;
    match operation {
        "BatchExecuteStatement" => inserts(tables, request, partial),
        "BatchGetItem" => get(tables, request, partial),
        "BatchWriteItem" => write(tables, request, partial),
        "PutItem" => put(tables, request),
        "UpdateItem" => update(tables, &request),
        "Query" => query(tables, &request),
        "Scan" => scan(tables, &request),
        _ => Answer::error(400, "UnknownOperationException"),
    }
}

/// `INSERT INTO "table" VALUE {'name': ?, …}` and nothing else.
fn inserts(tables: &mut Tables, mut request: Map<String, Value>, partial: &mut dyn Partial) -> Answer {
    let Some(Value::Array(statements)) = request.remove("Statements") else {
        return Answer::error(400, "ValidationException");
    };
    if statements.is_empty() || statements.len() > 25 {
        return Answer::error(400, "ValidationException");
    }
    let responses: Vec<Value> = statements
        .into_iter()
        .map(|mut statement| {
            let invalid = || json!({ "Error": { "Code": "ValidationError", "Message": "as told" } });
            let parameters = statement.get_mut("Parameters").map(Value::take);
            let (Some(text), Some(Value::Array(parameters))) =
                (statement.get("Statement").and_then(Value::as_str), parameters)
            else {
                return invalid();
            };
            let Some((table, names)) = insert(text) else { return invalid() };
            if names.len() != parameters.len() {
                return invalid();
            }
            let item: Item = names.into_iter().map(str::to_owned).zip(parameters).collect();
            let key = key(&item);
            let refused = partial.refuse(&shown(&key));
            if let Some(code) = refused
                && !partial.after_commit()
            {
                return json!({ "Error": { "Code": code, "Message": "as told" } });
            }
            if tables.table(table).items.contains_key(&key) {
                return json!({ "Error": { "Code": "DuplicateItem", "Message": "as told" }, "TableName": table });
            }
            tables.put(table, item, "insert");
            match refused {
                Some(code) => json!({ "Error": { "Code": code, "Message": "as told" } }),
                None => json!({ "TableName": table }),
            }
        })
        .collect();
    Answer::json(200, &json!({ "Responses": responses }))
}

/// Table and attribute names of an insert.
fn insert(statement: &str) -> Option<(&str, Vec<&str>)> {
    let (table, rest) = statement.strip_prefix("INSERT INTO \"")?.split_once("\" VALUE {")?;
    let names = rest.strip_suffix('}')?.split(", ");
    let names: Option<Vec<_>> = names.map(|field| field.strip_prefix('\'')?.strip_suffix("': ?")).collect();
    Some((table, names?))
}

fn get(tables: &mut Tables, mut request: Map<String, Value>, partial: &mut dyn Partial) -> Answer {
    let Some(Value::Object(asked)) = request.remove("RequestItems") else {
        return Answer::error(400, "ValidationException");
    };
    let (mut responses, mut unprocessed) = (Map::new(), Map::new());
    for (name, mut asked) in asked {
        let Some(Value::Array(mut keys)) = asked.get_mut("Keys").map(Value::take) else {
            return Answer::error(400, "ValidationException");
        };
        let distinct: BTreeSet<Key> = keys.iter().filter_map(|item| item.as_object().map(key)).collect();
        if keys.is_empty() || keys.len() > 100 || distinct.len() != keys.len() {
            return Answer::error(400, "ValidationException");
        }
        let projection = projection(&asked);
        // Whoever asks may ask in any order; what fails must not depend on it.
        keys.sort_by_key(|item| item.as_object().map(key));
        let mut found = Vec::new();
        let mut left = Vec::new();
        let table = tables.table(&name);
        for asked in keys {
            let key = asked.as_object().map(key).unwrap();
            if partial.refuse(&shown(&key)).is_some() {
                left.push(asked);
            } else if let Some(item) = table.items.get(&key) {
                found.push(projected(item.item(), projection.as_ref()));
            }
        }
        responses.insert(name.clone(), json!(found));
        if !left.is_empty() {
            asked["Keys"] = Value::Array(left);
            unprocessed.insert(name, asked);
        }
    }
    Answer::json(200, &json!({ "Responses": responses, "UnprocessedKeys": unprocessed }))
}

/// The names that `ProjectionExpression` asks for, where it stands.
fn projection(asked: &Value) -> Option<BTreeSet<String>> {
    let names = asked.get("ExpressionAttributeNames");
    let expression = asked.get("ProjectionExpression")?.as_str()?.split(',').map(str::trim);
    let named = |name: &str| names.and_then(|names| names.get(name)?.as_str()).unwrap_or(name).to_owned();
    Some(expression.map(named).collect())
}

fn projected(mut item: Item, names: Option<&BTreeSet<String>>) -> Item {
    if let Some(names) = names {
        item.retain(|name, _| names.contains(name));
    }
    item
}

fn write(tables: &mut Tables, mut request: Map<String, Value>, partial: &mut dyn Partial) -> Answer {
    let Some(Value::Object(asked)) = request.remove("RequestItems") else {
        return Answer::error(400, "ValidationException");
    };
    let mut unprocessed = Map::new();
    for (name, writes) in asked {
        let Value::Array(writes) = writes else { return Answer::error(400, "ValidationException") };
        let mut left = Vec::new();
        for one in writes {
            let Some(item) = one.pointer("/PutRequest/Item").and_then(Value::as_object) else {
                return Answer::error(400, "ValidationException");
            };
            if partial.refuse(&shown(&key(item))).is_some() {
                left.push(one);
            } else {
                tables.put(&name, item.clone(), "put");
            }
        }
        if !left.is_empty() {
            unprocessed.insert(name, Value::Array(left));
        }
    }
    Answer::json(200, &json!({ "UnprocessedItems": unprocessed }))
}

/// Whether the request's condition holds of what stands under the key of `item`; `None` where it is not understood.
fn condition(tables: &mut Tables, table: &str, item: &Item, request: &Map<String, Value>) -> Option<bool> {
    let Some(expression) = request.get("ConditionExpression") else { return Some(true) };
    let values = request.get("ExpressionAttributeValues").and_then(Value::as_object).cloned().unwrap_or_default();
    let stands = tables.item(table, item);
    condition::holds(expression.as_str()?, &values, stands.as_ref())
}

fn put(tables: &mut Tables, mut request: Map<String, Value>) -> Answer {
    match (request.remove("TableName"), request.remove("Item")) {
        (Some(Value::String(table)), Some(Value::Object(item))) => match condition(tables, &table, &item, &request) {
            Some(true) => {
                tables.put(&table, item, "put");
                Answer::json(200, &json!({}))
            }
            Some(false) => Answer::error(400, "ConditionalCheckFailedException"),
            None => Answer::error(400, "ValidationException"),
        },
        _ => Answer::error(400, "ValidationException"),
    }
}

/// `SET name = :value, … ADD name :number, …` and nothing else.
fn update(tables: &mut Tables, request: &Map<String, Value>) -> Answer {
    let invalid = || Answer::error(400, "ValidationException");
    let value = |name: &str| request.get("ExpressionAttributeValues").and_then(|values| values.get(name)).cloned();
    let (Some(table), Some(key_of)) =
        (request.get("TableName").and_then(Value::as_str), request.get("Key").and_then(Value::as_object))
    else {
        return invalid();
    };
    match condition(tables, table, key_of, request) {
        Some(true) => {}
        Some(false) => return Answer::error(400, "ConditionalCheckFailedException"),
        None => return invalid(),
    }
    let stands = tables.item(table, key_of);
    let mut item = stands.unwrap_or_else(|| key_of.clone());
    let expression = request.get("UpdateExpression").and_then(Value::as_str).unwrap_or_default();
    let (set, add) = expression.split_once("ADD ").unwrap_or((expression, ""));
    let set = set.trim().strip_prefix("SET ").unwrap_or_default();
    for assignment in set.split(',').filter(|assignment| !assignment.trim().is_empty()) {
        let Some((name, given)) = assignment.split_once('=') else { return invalid() };
        let Some(given) = value(given.trim()) else { return invalid() };
        item.insert(name.trim().to_owned(), given);
    }
    for addition in add.split(',').filter(|addition| !addition.trim().is_empty()) {
        let mut words = addition.split_whitespace();
        let (Some(name), Some(given)) = (words.next(), words.next().and_then(value)) else { return invalid() };
        let number = |value: &Value| value.get("N")?.as_str()?.parse::<u64>().ok();
        let sum = number(&given).unwrap_or(0) + item.get(name).and_then(number).unwrap_or(0);
        item.insert(name.to_owned(), json!({ "N": sum.to_string() }));
    }
    tables.put(table, item, "update");
    Answer::json(200, &json!({}))
}

/// Revisions of a post, all or those before one; by the index of authors those of an author; by that of provisional decisions the oldest.
fn query(tables: &mut Tables, request: &Map<String, Value>) -> Answer {
    let value = |name: &str| request.get("ExpressionAttributeValues").and_then(|values| values.get(name));
    let Some(name) = request.get("TableName").and_then(Value::as_str) else {
        return Answer::error(400, "ValidationException");
    };
    let table = tables.table(name);
    match request.get("IndexName").and_then(Value::as_str) {
        Some("by-author") => {
            let author = value(":author");
            let items = table.items.values().map(Packed::item);
            return answered(request, items.filter(|item| item.get("author_id") == author));
        }
        Some("provisional") => return provisional(table, request),
        Some(_) => return Answer::error(400, "ValidationException"),
        None => {}
    }
    let Some(post) = value(":post").and_then(|post| post.get("S")?.as_str()) else {
        return Answer::error(400, "ValidationException");
    };
    let before = value(":revision").and_then(|value| value.get("N")?.as_str()?.parse().ok());
    let bound = before.unwrap_or(u64::MAX);
    answered(request, table.items.range((post.to_owned(), 0)..(post.to_owned(), bound)).map(|(_, item)| item.item()))
}

/// A page of the sparse index of provisional decisions, which has their keys alone.
fn provisional(table: &Table, request: &Map<String, Value>) -> Answer {
    let value = |name: &str| request.get("ExpressionAttributeValues").and_then(|values| values.get(name));
    let (Some(shard), Some(before)) = (value(":shard"), value(":before").and_then(|before| before.get("S")?.as_str()))
    else {
        return Answer::error(400, "ValidationException");
    };
    let place = |item: &Item| (text(item, "received_at").unwrap_or_default().to_owned(), key(item));
    let after = request.get("ExclusiveStartKey").and_then(Value::as_object).map(place);
    let in_index = |item: &Item| item.get("open_shard") == Some(shard) && text(item, "received_at").is_some();
    let mut found: Vec<Item> = table.items.values().map(Packed::item).filter(in_index).collect();
    found.retain(|item| {
        let place = place(item);
        *place.0 < *before && after.as_ref().is_none_or(|after| place > *after)
    });
    found.sort_by_key(place);
    let limit = request.get("Limit").and_then(Value::as_u64).map_or(usize::MAX, |limit| limit as usize);
    let more = found.len() > limit;
    found.truncate(limit);
    let names = ["post_id", "revision", "open_shard", "received_at"].map(str::to_owned).into();
    let found: Vec<Item> = found.into_iter().map(|item| projected(item, Some(&names))).collect();
    let mut answer = json!({ "Items": found, "Count": found.len(), "ScannedCount": found.len() });
    if let Some(last) = found.last().filter(|_| more) {
        answer["LastEvaluatedKey"] = json!(last);
    }
    Answer::json(200, &answer)
}

/// Part of a table, or all of it.
fn scan(tables: &mut Tables, request: &Map<String, Value>) -> Answer {
    let number = |name: &str| request.get(name).and_then(Value::as_u64);
    let Some(name) = request.get("TableName").and_then(Value::as_str) else {
        return Answer::error(400, "ValidationException");
    };
    let (part, of) = (number("Segment").unwrap_or(0), number("TotalSegments").unwrap_or(1));
    let hash = |key: &Key| key.0.bytes().fold(0_u64, |hash, byte| (hash * 31 + u64::from(byte)) % 65_521);
    let items = tables.table(name).items.iter().filter(|(key, _)| hash(key) % of == part);
    answered(request, items.map(|(_, item)| item.item()))
}

/// What of these items the request's filter lets through.
fn answered(request: &Map<String, Value>, items: impl Iterator<Item = Item>) -> Answer {
    let values = request.get("ExpressionAttributeValues").and_then(Value::as_object).cloned().unwrap_or_default();
    let (mut found, mut scanned) = (Vec::new(), 0);
    for item in items {
        scanned += 1;
        let holds = match request.get("FilterExpression").and_then(Value::as_str) {
            None => Some(true),
            Some(filter) => condition::holds(filter, &values, Some(&item)),
        };
        match holds {
            Some(true) => found.push(item),
            Some(false) => {}
            None => return Answer::error(400, "ValidationException"),
        }
    }
    Answer::json(200, &json!({ "Items": found, "Count": found.len(), "ScannedCount": scanned }))
}
