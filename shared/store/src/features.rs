//! The feature table: one item an entity and view, `user#u-1` or `post#p-1`.

use crate::decisions::{KEYS_A_CALL, unprocessed};
use crate::item::{self, Item};
use crate::planted::planted;
use crate::{Aws, Backoff, Deadline, StoreError, aws};
use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, PutRequest, WriteRequest};
use domain::Tombstone;
use features::views::{Definitions, FeatureRow, Lookup, RowKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

/// Where feature rows are kept.
#[async_trait]
pub trait FeatureStore: Send + Sync {
    /// Looks up every key; what could not be asked for before the deadline is [`Lookup::Unavailable`].
    async fn fetch(&self, keys: &BTreeSet<RowKey>, deadline: Deadline) -> HashMap<RowKey, Lookup>;

    /// Writes rows, replacing what stands there; `rows` hold no key twice.
    ///
    /// # Errors
    /// Where not all rows are known to be written.
    async fn put(&self, rows: &[FeatureRow], deadline: Deadline) -> Result<(), StoreError>;
}

/// A row that nobody updated for this long goes: of an author so long absent nothing is known.
const KEPT_DAYS: u32 = 400;
/// Items that one `BatchWriteItem` takes.
const ITEMS_A_CALL: usize = 25;

/// Feature rows in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoFeatures {
    client: aws_sdk_dynamodb::Client,
    table: String,
    definitions: Arc<Definitions>,
}

impl DynamoFeatures {
    /// The feature rows in `table`, read through `definitions`.
    #[must_use]
    pub fn new(aws: &Aws, table: impl Into<String>, definitions: Arc<Definitions>) -> Self {
        Self { client: aws.dynamodb.clone(), table: table.into(), definitions }
    }

    /// `#0, #1, …` for the key, `updated_at` and every stored value: names may be reserved words.
    fn projection(&self) -> (String, HashMap<String, String>) {
        let stored = self.definitions.stored().map(|feature| feature.name.as_str());
        let names: HashMap<String, String> = ["entity", "updated_at", item::ERASED_AT]
            .into_iter()
            .chain(stored)
            .enumerate()
            .map(|(index, name)| (format!("#{index}"), name.to_owned()))
            .collect();
        let mut placeholders: Vec<_> = names.keys().cloned().collect();
        placeholders.sort();
        (placeholders.join(", "), names)
    }

    async fn fetch_chunk(&self, keys: &[&RowKey], deadline: Deadline) -> HashMap<RowKey, Lookup> {
        let by_entity: HashMap<String, &RowKey> = keys.iter().map(|key| (key.to_string(), *key)).collect();
        // INVARIANT: a key is missing only once an answer that left it neither found nor unprocessed has come.
        let mut looked_up: HashMap<RowKey, Lookup> =
            keys.iter().map(|key| ((*key).clone(), Lookup::Unavailable)).collect();
        let (projection, names) = self.projection();
        let mut open: Vec<Item> = by_entity
            .keys()
            .map(|entity| HashMap::from([("entity".to_owned(), AttributeValue::S(entity.clone()))]))
            .collect();
        let mut backoff = Backoff::until(deadline);
        loop {
            let asked = KeysAndAttributes::builder()
                .set_keys(Some(open.clone()))
                .projection_expression(&projection)
                .set_expression_attribute_names(Some(names.clone()))
                .build();
            let Ok(asked) = asked else { return looked_up };
            let request = self.client.batch_get_item().request_items(&self.table, asked).send();
            let Ok(answer) = aws::call("reading features", deadline, request).await else {
                if planted("unavailable-is-missing") {
                    looked_up.values_mut().for_each(|lookup| *lookup = Lookup::Missing);
                }
                return looked_up;
            };
            // An empty answer says nothing about any key.
            let Some(responses) = answer.responses else { return looked_up };
            let mut left = unprocessed(answer.unprocessed_keys);
            if planted("unprocessed-keys-ignored") {
                left.clear();
            }
            let found: HashMap<String, Item> = responses
                .into_values()
                .flatten()
                .filter_map(|item| Some((item.get("entity")?.as_s().ok()?.clone(), item)))
                .collect();
            for asked in &open {
                let Some(entity) = asked.get("entity").and_then(|entity| entity.as_s().ok()) else { continue };
                let Some(key) = by_entity.get(entity) else { continue };
                if left.contains(asked) {
                    continue;
                }
                let lookup = match found.get(entity) {
                    None => Lookup::Missing,
                    // A row that something else wrote in another shape cannot be read: not the same as absent.
                    Some(item) => self.row(key, item).map_or(Lookup::Unavailable, Lookup::Found),
                };
                looked_up.insert((*key).clone(), lookup);
            }
            open = left;
            if open.is_empty() || !backoff.wait().await {
                return looked_up;
            }
        }
    }

    fn row(&self, key: &RowKey, item: &Item) -> Option<FeatureRow> {
        let mut values: BTreeMap<_, _> = BTreeMap::new();
        let stored = |name: &str| !matches!(name, "entity" | "updated_at" | item::ERASED_AT);
        for (name, value) in item.iter().filter(|(name, _)| stored(name)) {
            values.insert(name.clone(), serde_dynamo::from_attribute_value(value.clone()).ok()?);
        }
        let instant = |value: &AttributeValue| value.as_s().ok()?.parse().ok();
        let erased_at = item.get(item::ERASED_AT).map(instant).map_or(Some(None), |at| at.map(Some))?;
        let updated_at = item.get("updated_at").map_or(erased_at, instant)?;
        let (view, id) = (key.view.clone(), key.id.clone());
        self.definitions.check_row(FeatureRow { view, id, updated_at, values, erased_at }).ok()
    }
}

fn to_item(row: &FeatureRow) -> Result<Item, StoreError> {
    let mut item: Item = serde_dynamo::to_item(&row.values)
        .map_err(|_| StoreError::permanent("writing features", "values are not an item"))?;
    let key = RowKey { view: row.view.clone(), id: row.id.clone() };
    item.insert("entity".to_owned(), AttributeValue::S(key.to_string()));
    if let Some(erased_at) = row.erased_at {
        item = item::bury(item, &Tombstone { erased_at, author: None });
        if row.values.is_empty() {
            return Ok(item);
        }
    }
    item.insert("updated_at".to_owned(), AttributeValue::S(row.updated_at.to_string()));
    item.insert(item::EXPIRES_AT.to_owned(), item::expires_at(row.updated_at, KEPT_DAYS));
    Ok(item)
}

#[async_trait]
impl FeatureStore for DynamoFeatures {
    async fn fetch(&self, keys: &BTreeSet<RowKey>, deadline: Deadline) -> HashMap<RowKey, Lookup> {
        let keys: Vec<&RowKey> = keys.iter().collect();
        let chunks = keys.chunks(KEYS_A_CALL).map(|chunk| self.fetch_chunk(chunk, deadline));
        futures::future::join_all(chunks).await.into_iter().flatten().collect()
    }

    async fn put(&self, rows: &[FeatureRow], deadline: Deadline) -> Result<(), StoreError> {
        const DOING: &str = "writing features";
        for chunk in rows.chunks(ITEMS_A_CALL) {
            let mut open = Vec::with_capacity(chunk.len());
            for row in chunk {
                let put = PutRequest::builder().set_item(Some(to_item(row)?)).build();
                let put = put.map_err(|_| StoreError::permanent(DOING, "request could not be built"))?;
                open.push(WriteRequest::builder().put_request(put).build());
            }
            let mut backoff = Backoff::until(deadline);
            while !open.is_empty() {
                let request = self.client.batch_write_item().request_items(&self.table, open).send();
                let answer = aws::call(DOING, deadline, request).await?;
                let left = answer.unprocessed_items.ok_or_else(|| aws::empty(DOING))?;
                open = left.into_values().flatten().collect();
                if !open.is_empty() && !backoff.wait().await {
                    return Err(StoreError::transient(DOING, "unprocessed items"));
                }
            }
        }
        Ok(())
    }
}

/// Feature rows in memory.
#[derive(Debug, Default)]
pub struct MemoryFeatures {
    rows: Mutex<HashMap<RowKey, FeatureRow>>,
}

#[async_trait]
impl FeatureStore for MemoryFeatures {
    async fn fetch(&self, keys: &BTreeSet<RowKey>, _deadline: Deadline) -> HashMap<RowKey, Lookup> {
        let rows = self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        keys.iter()
            .map(|key| (key.clone(), rows.get(key).map_or(Lookup::Missing, |row| Lookup::Found(row.clone()))))
            .collect()
    }

    async fn put(&self, rows: &[FeatureRow], _deadline: Deadline) -> Result<(), StoreError> {
        let mut kept = self.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for row in rows {
            kept.insert(RowKey { view: row.view.clone(), id: row.id.clone() }, row.clone());
        }
        Ok(())
    }
}
