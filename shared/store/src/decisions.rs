//! The decision table. Its item is the idempotency record: inserted once, whoever comes second reads it (law 2).

use crate::planted::planted;
use crate::{Aws, Backoff, Deadline, StoreError, aws, item};
use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, BatchStatementRequest, KeysAndAttributes};
use domain::{DecidedBy, DecisionRecord, PostId, Revision, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

/// What came of inserting a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is the decision now.
    New,
    /// There is one already, which stands.
    Exists,
}

/// What came of replacing a provisional decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Superseded {
    /// The new one is the decision now.
    Done,
    /// What is there is not the provisional decision one attempt before, and stands: a later one, a person's, or nothing at all.
    Stands,
}

/// Where decisions are kept.
#[async_trait]
pub trait DecisionStore: Send + Sync {
    /// Inserts each record unless its (post, revision) has one; answers stand in the order of `records`, which hold
    /// no (post, revision) twice.
    async fn insert(&self, records: &[DecisionRecord], deadline: Deadline) -> Vec<Result<Inserted, StoreError>>;

    /// Puts each record in the place of the provisional decision one attempt before it, and of nothing else; answers stand in the order
    /// of `records`, which hold no (post, revision) twice.
    async fn supersede(&self, records: &[DecisionRecord], deadline: Deadline) -> Vec<Result<Superseded, StoreError>>;

    /// Reads the decisions of these (post, revision) pairs, consistently; answers stand in the order of `keys`.
    async fn get(
        &self,
        keys: &[(PostId, Revision)],
        deadline: Deadline,
    ) -> Vec<Result<Option<DecisionRecord>, StoreError>>;

    /// The decisions of every revision of a post, the oldest first.
    async fn of_post(&self, post: &PostId, deadline: Deadline) -> Result<Vec<DecisionRecord>, StoreError>;

    /// Whether a person decided a revision of the post before this one.
    async fn verdict_before(&self, post: &PostId, revision: Revision, deadline: Deadline) -> Result<bool, StoreError>;

    /// Decisions that are still provisional although their posts arrived before `before`: about `most` of them, of the oldest.
    async fn overdue(
        &self,
        before: Timestamp,
        most: usize,
        deadline: Deadline,
    ) -> Result<Vec<DecisionRecord>, StoreError>;
}

/// Whether a second opinion may still replace the decision: whoever writes a person's down may leave it marked as provisional.
pub(crate) fn is_open(record: &DecisionRecord) -> bool {
    record.provisional && record.decided_by != DecidedBy::Human
}

/// Statements that one `BatchExecuteStatement` takes.
const STATEMENTS_A_CALL: usize = 25;
/// Keys that one `BatchGetItem` takes.
pub(crate) const KEYS_A_CALL: usize = 100;

/// Storing or reading may take this long. Who waits longer keeps others of the batch waiting; the queue waits for nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// The index of provisional decisions, by shard and by when their posts arrived.
const PROVISIONAL_INDEX: &str = "provisional";

/// Decisions in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoDecisions {
    client: aws_sdk_dynamodb::Client,
    table: String,
    kept_days: Option<u32>,
}

impl DynamoDecisions {
    /// The decisions in `table`.
    #[must_use]
    pub fn new(aws: &Aws, table: impl Into<String>) -> Self {
        Self { client: aws.dynamodb.clone(), table: table.into(), kept_days: None }
    }

    /// Lets what is inserted expire this many days after it was decided, by the table's time to live.
    #[must_use]
    pub fn kept_days(self, days: u32) -> Self {
        Self { kept_days: Some(days), ..self }
    }

    async fn insert_chunk(&self, records: &[DecisionRecord], deadline: Deadline) -> Vec<Result<Inserted, StoreError>> {
        const DOING: &str = "inserting decisions";
        let mut answers: Vec<Result<Inserted, StoreError>> =
            vec![Err(StoreError::transient(DOING, "not tried")); records.len()];
        let mut open: Vec<(usize, BatchStatementRequest)> = Vec::new();
        for (index, (record, answer)) in records.iter().zip(&mut answers).enumerate() {
            match self.statement(record) {
                Ok(statement) => open.push((index, statement)),
                Err(error) => *answer = Err(error),
            }
        }
        let mut backoff = Backoff::until(deadline);
        while !open.is_empty() {
            let statements = open.iter().map(|(_, statement)| statement.clone()).collect();
            let request = self.client.batch_execute_statement().set_statements(Some(statements)).send();
            let responses = match aws::call(DOING, deadline, request).await {
                Ok(answer) => answer.responses.unwrap_or_default(),
                // Something is wrong with one of them: the others are stored without it.
                Err(error) if !error.retryable && records.len() > 1 => {
                    let alone = records.chunks(1).map(|record| Box::pin(self.insert_chunk(record, deadline)));
                    return futures::future::join_all(alone).await.into_iter().flatten().collect();
                }
                Err(error) => {
                    // The SDK has tried again already where that could help.
                    for (index, _) in &open {
                        set(&mut answers, *index, Err(error.clone()));
                    }
                    break;
                }
            };
            let mut again = Vec::new();
            let mut responses = responses.into_iter();
            for (index, statement) in open {
                // A statement without an answer is not known to be done.
                let Some(response) = responses.next() else {
                    if planted("short-answer-is-success") {
                        set(&mut answers, index, Ok(Inserted::New));
                        continue;
                    }
                    set(&mut answers, index, Err(StoreError::transient(DOING, "no answer for this statement")));
                    again.push((index, statement));
                    continue;
                };
                // An error is one whether it has a code or not.
                let code = response.error.map(|error| aws::code(error.code.as_ref().map(|code| code.as_str())));
                match code.as_deref() {
                    Some("DuplicateItem") if planted("duplicate-is-an-error") => {
                        set(&mut answers, index, Err(StoreError::transient(DOING, "DuplicateItem")));
                    }
                    Some("DuplicateItem") if self.planted_put(records.get(index)).await => {
                        set(&mut answers, index, Ok(Inserted::New));
                    }
                    Some(code) if code != "DuplicateItem" && planted("statement-error-ignored") => {
                        set(&mut answers, index, Ok(Inserted::New));
                    }
                    None => set(&mut answers, index, Ok(Inserted::New)),
                    Some("DuplicateItem" | "ConditionalCheckFailed") => {
                        set(&mut answers, index, Ok(Inserted::Exists));
                    }
                    Some(code) if aws::is_permanent(code) => {
                        set(&mut answers, index, Err(StoreError::permanent(DOING, code)));
                    }
                    // Somebody has to mend that first: nothing comes of trying again at once.
                    Some("AccessDenied") => {
                        set(&mut answers, index, Err(StoreError::transient(DOING, "AccessDenied")));
                    }
                    Some(code) => {
                        set(&mut answers, index, Err(StoreError::transient(DOING, code)));
                        again.push((index, statement));
                    }
                }
            }
            open = again;
            if !open.is_empty() && !backoff.wait().await {
                break;
            }
        }
        answers
    }

    /// The planted faults that write what another has decided already.
    async fn planted_put(&self, record: Option<&DecisionRecord>) -> bool {
        let (any, human) = (planted("unconditional-put"), planted("human-overwritten"));
        let Some(item) = record.filter(|_| any || human).and_then(|record| item::to_item(record).ok()) else {
            return false;
        };
        let mut put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        if human {
            let is_human = AttributeValue::S("human".to_owned());
            put = put.condition_expression("decided_by = :human").expression_attribute_values(":human", is_human);
        }
        put.send().await.is_ok()
    }

    fn item(&self, record: &DecisionRecord) -> Result<item::Item, StoreError> {
        let mut item = item::to_item(record)?;
        if let Some(days) = self.kept_days {
            item.insert(item::EXPIRES_AT.to_owned(), item::expires_at(record.decided_at, days));
        }
        Ok(item)
    }

    /// One `PutItem` under the conditions of law 2: attempts only grow, and nothing replaces a person's.
    async fn supersede_one(&self, record: &DecisionRecord, deadline: Deadline) -> Result<Superseded, StoreError> {
        let mut put = self.client.put_item().table_name(&self.table).set_item(Some(self.item(record)?));
        if !planted("supersede-unconditionally") {
            let human = !planted("supersede-human");
            let attempt = !planted("supersede-any-attempt");
            let mut conditions = vec!["attribute_exists(post_id)"];
            if attempt {
                conditions.extend(["provisional = :true", "attempt = :before"]);
                let before = AttributeValue::N(record.attempt.saturating_sub(1).to_string());
                put = put
                    .expression_attribute_values(":true", AttributeValue::Bool(true))
                    .expression_attribute_values(":before", before);
            }
            if human {
                conditions.push("decided_by <> :human");
                put = put.expression_attribute_values(":human", AttributeValue::S("human".to_owned()));
            }
            put = put.condition_expression(conditions.join(" AND "));
        }
        match aws::call("superseding a decision", deadline, put.send()).await {
            Ok(_) => Ok(Superseded::Done),
            Err(error) if error.code == "ConditionalCheckFailedException" => Ok(Superseded::Stands),
            Err(error) => Err(error),
        }
    }

    /// The index has keys alone and lags behind: what it names is read from the table.
    async fn overdue_in(
        &self,
        shard: u8,
        before: Timestamp,
        most: usize,
        deadline: Deadline,
    ) -> Result<Vec<DecisionRecord>, StoreError> {
        const DOING: &str = "looking for provisional decisions";
        let (mut open, mut start) = (Vec::new(), None);
        while open.len() < most {
            let request = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(PROVISIONAL_INDEX)
                .key_condition_expression("open_shard = :shard AND received_at < :before")
                .expression_attribute_values(":shard", AttributeValue::N(shard.to_string()))
                .expression_attribute_values(":before", AttributeValue::S(before.to_string()))
                .limit(i32::try_from(most.min(KEYS_A_CALL)).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send();
            let answer = aws::call(DOING, deadline, request).await?;
            let items = answer.items.ok_or_else(|| aws::empty(DOING))?;
            let keys: Vec<_> = items.iter().filter_map(|item| named(&identity(item)?)).collect();
            for record in self.get(&keys, deadline).await {
                open.extend(record?.filter(is_open));
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        open.truncate(most);
        Ok(open)
    }

    fn statement(&self, record: &DecisionRecord) -> Result<BatchStatementRequest, StoreError> {
        let item = self.item(record)?;
        let (names, values): (Vec<_>, Vec<_>) = item.into_iter().collect::<BTreeMap<_, _>>().into_iter().unzip();
        let fields: Vec<_> = names.iter().map(|name| format!("'{name}': ?")).collect();
        BatchStatementRequest::builder()
            .statement(format!("INSERT INTO \"{}\" VALUE {{{}}}", self.table, fields.join(", ")))
            .set_parameters(Some(values))
            .build()
            .map_err(|_| StoreError::permanent("inserting decisions", "statement could not be built"))
    }
}

fn set<T>(answers: &mut [T], index: usize, answer: T) {
    if let Some(slot) = answers.get_mut(index) {
        *slot = answer;
    }
}

fn patient(deadline: Deadline) -> Deadline {
    deadline.min(Deadline::now() + PATIENCE)
}

fn key(post: &PostId, revision: Revision) -> item::Item {
    HashMap::from([
        ("post_id".to_owned(), AttributeValue::S(post.to_string())),
        ("revision".to_owned(), AttributeValue::N(revision.to_string())),
    ])
}

#[async_trait]
impl DecisionStore for DynamoDecisions {
    async fn insert(&self, records: &[DecisionRecord], deadline: Deadline) -> Vec<Result<Inserted, StoreError>> {
        let deadline = patient(deadline);
        let chunks = records.chunks(STATEMENTS_A_CALL).map(|chunk| self.insert_chunk(chunk, deadline));
        let mut answers: Vec<_> = futures::future::join_all(chunks).await.into_iter().flatten().collect();
        if planted("answers-out-of-order") {
            answers.reverse();
        }
        answers
    }

    async fn supersede(&self, records: &[DecisionRecord], deadline: Deadline) -> Vec<Result<Superseded, StoreError>> {
        let deadline = patient(deadline);
        futures::future::join_all(records.iter().map(|record| self.supersede_one(record, deadline))).await
    }

    async fn get(
        &self,
        keys: &[(PostId, Revision)],
        deadline: Deadline,
    ) -> Vec<Result<Option<DecisionRecord>, StoreError>> {
        const DOING: &str = "reading decisions";
        let deadline = patient(deadline);
        let mut found: HashMap<(String, u64), Result<DecisionRecord, StoreError>> = HashMap::new();
        let mut failed: HashMap<(String, u64), StoreError> = HashMap::new();
        for chunk in keys.chunks(KEYS_A_CALL) {
            let mut open: Vec<item::Item> = chunk.iter().map(|(post, revision)| key(post, *revision)).collect();
            let mut backoff = Backoff::until(deadline);
            loop {
                let asked = KeysAndAttributes::builder().set_keys(Some(open.clone())).consistent_read(true).build();
                let Ok(asked) = asked else { break };
                let request = self.client.batch_get_item().request_items(&self.table, asked).send();
                let answer = aws::call(DOING, deadline, request).await;
                let answer = answer.and_then(|answer| {
                    Ok((answer.responses.ok_or_else(|| aws::empty(DOING))?, answer.unprocessed_keys))
                });
                let (responses, left) = match answer {
                    Ok(answer) => answer,
                    Err(error) => {
                        failed.extend(open.iter().filter_map(|item| Some((identity(item)?, error.clone()))));
                        break;
                    }
                };
                for item in responses.into_values().flatten() {
                    if let Some(identity) = identity(&item) {
                        found.insert(identity, item::from_item(item));
                    }
                }
                open = unprocessed(left);
                if open.is_empty() {
                    break;
                }
                if !backoff.wait().await {
                    let error = StoreError::transient(DOING, "unprocessed keys");
                    failed.extend(open.iter().filter_map(|item| Some((identity(item)?, error.clone()))));
                    break;
                }
            }
        }
        keys.iter()
            .map(|(post, revision)| {
                let key = (post.to_string(), revision.get());
                match (found.get(&key), failed.get(&key)) {
                    (Some(record), _) => record.clone().map(Some),
                    (None, Some(error)) => Err(error.clone()),
                    (None, None) => Ok(None),
                }
            })
            .collect()
    }

    async fn of_post(&self, post: &PostId, deadline: Deadline) -> Result<Vec<DecisionRecord>, StoreError> {
        const DOING: &str = "reading the decisions of a post";
        let (mut records, mut start) = (Vec::new(), None);
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("post_id = :post")
                .expression_attribute_values(":post", AttributeValue::S(post.to_string()))
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send();
            let answer = aws::call(DOING, deadline, request).await?;
            for item in answer.items.ok_or_else(|| aws::empty(DOING))? {
                records.push(item::from_item(item)?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(records);
            }
        }
    }

    async fn verdict_before(&self, post: &PostId, revision: Revision, deadline: Deadline) -> Result<bool, StoreError> {
        const DOING: &str = "looking for earlier verdicts";
        let mut start = None;
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("post_id = :post AND revision < :revision")
                .filter_expression("decided_by = :human OR verdict_before = :yes")
                .projection_expression("revision")
                .expression_attribute_values(":post", AttributeValue::S(post.to_string()))
                .expression_attribute_values(":revision", AttributeValue::N(revision.to_string()))
                .expression_attribute_values(":human", AttributeValue::S("human".to_owned()))
                .expression_attribute_values(":yes", AttributeValue::S("yes".to_owned()))
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send();
            let answer = aws::call(DOING, deadline, request).await?;
            if !answer.items.ok_or_else(|| aws::empty(DOING))?.is_empty() {
                return Ok(true);
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(false);
            }
        }
    }

    async fn overdue(
        &self,
        before: Timestamp,
        most: usize,
        deadline: Deadline,
    ) -> Result<Vec<DecisionRecord>, StoreError> {
        let most = most.div_ceil(item::SHARDS.into());
        let shards = (0..item::SHARDS).map(|shard| self.overdue_in(shard, before, most, deadline));
        Ok(futures::future::try_join_all(shards).await?.into_iter().flatten().collect())
    }
}

/// The keys that a `BatchGetItem` on one table left over.
pub(crate) fn unprocessed(left: Option<HashMap<String, KeysAndAttributes>>) -> Vec<item::Item> {
    left.unwrap_or_default().into_values().flat_map(|left| left.keys).collect()
}

fn identity(item: &item::Item) -> Option<(String, u64)> {
    let post = item.get("post_id")?.as_s().ok()?.clone();
    let revision = item.get("revision")?.as_n().ok()?.parse().ok()?;
    Some((post, revision))
}

fn named((post, revision): &(String, u64)) -> Option<(PostId, Revision)> {
    Some((post.clone().try_into().ok()?, (*revision).try_into().ok()?))
}

/// Decisions in memory.
#[derive(Debug, Default)]
pub struct MemoryDecisions {
    records: Mutex<BTreeMap<(PostId, Revision), DecisionRecord>>,
}

impl MemoryDecisions {
    /// All decisions, by post and revision.
    #[must_use]
    pub fn all(&self) -> Vec<DecisionRecord> {
        self.lock().values().cloned().collect()
    }

    /// Puts a decision in place whatever stands there, as a reviewer's verdict does.
    pub fn replace(&self, record: DecisionRecord) {
        self.lock().insert((record.post_id.clone(), record.revision), record);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(PostId, Revision), DecisionRecord>> {
        self.records.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl DecisionStore for MemoryDecisions {
    async fn insert(&self, records: &[DecisionRecord], _deadline: Deadline) -> Vec<Result<Inserted, StoreError>> {
        use std::collections::btree_map::Entry;
        let mut kept = self.lock();
        records
            .iter()
            .map(|record| match kept.entry((record.post_id.clone(), record.revision)) {
                Entry::Occupied(_) => Ok(Inserted::Exists),
                Entry::Vacant(slot) => {
                    slot.insert(record.clone());
                    Ok(Inserted::New)
                }
            })
            .collect()
    }

    async fn supersede(&self, records: &[DecisionRecord], _: Deadline) -> Vec<Result<Superseded, StoreError>> {
        let mut kept = self.lock();
        records
            .iter()
            .map(|record| match kept.get_mut(&(record.post_id.clone(), record.revision)) {
                Some(before)
                    if before.provisional
                        && before.attempt.checked_add(1) == Some(record.attempt)
                        && before.decided_by != DecidedBy::Human =>
                {
                    *before = record.clone();
                    Ok(Superseded::Done)
                }
                _ => Ok(Superseded::Stands),
            })
            .collect()
    }

    async fn get(
        &self,
        keys: &[(PostId, Revision)],
        _deadline: Deadline,
    ) -> Vec<Result<Option<DecisionRecord>, StoreError>> {
        let kept = self.lock();
        keys.iter().map(|key| Ok(kept.get(key).cloned())).collect()
    }

    async fn of_post(&self, post: &PostId, _deadline: Deadline) -> Result<Vec<DecisionRecord>, StoreError> {
        Ok(self.lock().values().filter(|record| record.post_id == *post).cloned().collect())
    }

    async fn verdict_before(&self, post: &PostId, revision: Revision, _: Deadline) -> Result<bool, StoreError> {
        Ok(self.lock().range((post.clone(), Revision::FIRST)..(post.clone(), revision)).any(|(_, record)| {
            record.decided_by == DecidedBy::Human || record.verdict_before == domain::VerdictBefore::Yes
        }))
    }

    async fn overdue(&self, before: Timestamp, most: usize, _: Deadline) -> Result<Vec<DecisionRecord>, StoreError> {
        let mut open: Vec<_> =
            self.lock().values().filter(|record| is_open(record) && record.received_at < before).cloned().collect();
        open.sort_by_key(|record| record.received_at);
        open.truncate(most);
        Ok(open)
    }
}
