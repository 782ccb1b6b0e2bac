//! The decision table. Its item is the idempotency record: inserted once, whoever comes second reads it (law 2).

use crate::planted::planted;
use crate::{Aws, Backoff, Deadline, StoreError, aws, item};
use async_trait::async_trait;
use aws_sdk_dynamodb::types::{
    AttributeValue, BatchStatementRequest, GlobalSecondaryIndexDescription, IndexStatus, KeysAndAttributes,
};
use domain::{AuthorId, DecidedBy, DecisionRecord, KeyedDigest, PostId, Revision, Timestamp, Tombstone, keyed_hex};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// What a tombstone may stand for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grave {
    /// One revision of a post.
    Post(PostId, Revision),
    /// A post, in a place of its own: where that of the first revision has something that was sent later.
    Below(PostId),
    /// Everything of an author, by the keyed digest of the id: where the features, which say the same, cannot be read.
    Author(KeyedDigest),
}

/// What came of erasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erased {
    /// A tombstone stands there now.
    Done,
    /// What stands there is about something that was sent later, and stays.
    Later,
}

/// All revisions of a post, the oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// The decisions on them.
    pub records: Vec<DecisionRecord>,
    /// Those that were erased.
    pub tombstones: Vec<(Revision, Tombstone)>,
}

/// What is known of the revisions of a post before one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before {
    /// Whether a person decided one of them, or one of them came after such a decision.
    pub verdict: bool,
    /// Those that were erased.
    pub tombstones: Vec<(Revision, Tombstone)>,
}

/// A decision that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The post.
    pub post: PostId,
    /// Which version of it.
    pub revision: Revision,
    /// When it was sent.
    pub received_at: Timestamp,
}

/// A search for decisions, and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    what: Sought,
    from: Option<item::Item>,
}

#[derive(Debug, Clone, PartialEq)]
enum Sought {
    /// All revisions of a post.
    Post(PostId),
    /// Everything of an author, by the index.
    Indexed(AuthorId),
    /// Everything of an author in one part of the table, from 0, of so many.
    Scanned(AuthorId, i32, i32),
}

impl Search {
    /// For all revisions of a post.
    #[must_use]
    pub fn of_post(post: PostId) -> Self {
        Self { what: Sought::Post(post), from: None }
    }

    /// For the decisions on an author's posts, by the index of authors.
    #[must_use]
    pub fn by_index(author: AuthorId) -> Self {
        Self { what: Sought::Indexed(author), from: None }
    }

    /// For the same without an index: so many searches, which read a part of the table each.
    #[must_use]
    pub fn by_scan(author: &AuthorId, parts: u8) -> Vec<Self> {
        let part = |part| Self { what: Sought::Scanned(author.clone(), part, parts.into()), from: None };
        (0..parts.into()).map(part).collect()
    }
}

/// A table, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Its items.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether decisions are found by their author.
    pub indexed: bool,
}

/// Part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What was found.
    pub found: Vec<Found>,
    /// How many more were found, and could not be read.
    pub unreadable: u64,
    /// Items that were looked at.
    pub looked_at: u64,
    /// How to go on; `None` where that was all.
    pub next: Option<Search>,
}

/// Where decisions are kept. Where one was erased, there is none, and [`DecisionStore::tombstones`] says so.
#[async_trait]
pub trait DecisionStore: Send + Sync {
    /// Inserts each record unless its (post, revision) has one; answers stand in the order of `records`, which hold
    /// no (post, revision) twice.
    async fn insert(&self, records: &[DecisionRecord], deadline: Deadline) -> Vec<Result<Inserted, StoreError>>;

    /// Puts each record in the place of the provisional decision one attempt before it, or, where it settles a conflict of content, of any
    /// decision of a machine's one attempt before it; of nothing else. Answers stand in the order of `records`, which hold no
    /// (post, revision) twice.
    async fn supersede(&self, records: &[DecisionRecord], deadline: Deadline) -> Vec<Result<Superseded, StoreError>>;

    /// Reads the decisions of these (post, revision) pairs, consistently; answers stand in the order of `keys`.
    async fn get(
        &self,
        keys: &[(PostId, Revision)],
        deadline: Deadline,
    ) -> Vec<Result<Option<DecisionRecord>, StoreError>>;

    /// The decisions of every revision of a post, the oldest first.
    async fn of_post(&self, post: &PostId, deadline: Deadline) -> Result<History, StoreError>;

    /// What is known of the revisions of a post before this one.
    async fn before(&self, post: &PostId, revision: Revision, deadline: Deadline) -> Result<Before, StoreError>;

    /// Reads tombstones, consistently; answers stand in the order of `graves`.
    async fn tombstones(&self, graves: &[Grave], deadline: Deadline) -> Vec<Result<Option<Tombstone>, StoreError>>;

    /// Puts a tombstone in the place of whatever was sent before it, or of nothing; answers stand in the order of `graves`.
    async fn erase(
        &self,
        graves: &[Grave],
        tombstone: &Tombstone,
        deadline: Deadline,
    ) -> Vec<Result<Erased, StoreError>>;

    /// Goes on with a search, a page at a time. Of an author's decisions those of the last seconds may be missing.
    async fn find(&self, search: Search, deadline: Deadline) -> Result<Page, StoreError>;

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

/// The index of authors, where a deployment has one.
const BY_AUTHOR: &str = "by-author";

/// Statements that one `BatchExecuteStatement` takes.
const STATEMENTS_A_CALL: usize = 25;
/// Keys that one `BatchGetItem` takes.
pub(crate) const KEYS_A_CALL: usize = 100;

/// Storing or reading may take this long. Who waits longer keeps others of the batch waiting; the queue waits for nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// The index of provisional decisions, by shard and by when their posts arrived.
const PROVISIONAL_INDEX: &str = "provisional";
/// Writes that are under way at a time, where no call takes several.
const PUTS_AT_ONCE: usize = 16;

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

    /// How large the table is, as DynamoDB says a few times a day, and whether it has the index of authors: for operators.
    ///
    /// # Errors
    /// Where it could not be asked.
    pub async fn size(&self, deadline: Deadline) -> Result<Size, StoreError> {
        const DOING: &str = "describing the table of decisions";
        let answer = aws::call(DOING, deadline, self.client.describe_table().table_name(&self.table).send()).await?;
        let table = answer.table.ok_or_else(|| aws::empty(DOING))?;
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let is_ready = |index: &GlobalSecondaryIndexDescription| {
            index.index_name() == Some(BY_AUTHOR) && index.index_status() == Some(&IndexStatus::Active)
        };
        Ok(Size {
            items: number(table.item_count),
            bytes: number(table.table_size_bytes),
            indexed: table.global_secondary_indexes().iter().any(is_ready),
        })
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
                conditions.push("attempt = :before");
                let before = AttributeValue::N(record.attempt.saturating_sub(1).to_string());
                put = put.expression_attribute_values(":before", before);
            }
            if attempt && record.content.conflict.is_none() {
                conditions.push("provisional = :true");
                put = put.expression_attribute_values(":true", AttributeValue::Bool(true));
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

    /// Reads the items under these keys, consistently, in their order; `None` where there is none.
    async fn items(&self, keys: &[item::Item], deadline: Deadline) -> Vec<Result<Option<item::Item>, StoreError>> {
        const DOING: &str = "reading decisions";
        let mut found: HashMap<(String, u64), item::Item> = HashMap::new();
        let mut failed: HashMap<(String, u64), StoreError> = HashMap::new();
        for chunk in keys.chunks(KEYS_A_CALL) {
            let mut open = chunk.to_vec();
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
                found.extend(responses.into_values().flatten().filter_map(|item| Some((identity(&item)?, item))));
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
        let answer = |asked: &item::Item| {
            let identity = identity(asked)?;
            found.get(&identity).cloned().map(Ok).or_else(|| failed.get(&identity).cloned().map(Err))
        };
        keys.iter().map(|asked| answer(asked).transpose()).collect()
    }

    async fn bury(&self, grave: &Grave, tombstone: &Tombstone, deadline: Deadline) -> Result<Erased, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::bury(grave_key(grave), tombstone)))
            .condition_expression("attribute_not_exists(received_at) OR received_at < :erased_at")
            .expression_attribute_values(":erased_at", AttributeValue::S(tombstone.erased_at.to_string()));
        match aws::call("erasing a decision", deadline, put.send()).await {
            Ok(_) => Ok(Erased::Done),
            Err(error) if error.code == "ConditionalCheckFailedException" => Ok(Erased::Later),
            Err(error) => Err(error),
        }
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
    key_of(post.to_string(), revision.get())
}

fn key_of(post: String, revision: u64) -> item::Item {
    HashMap::from([
        ("post_id".to_owned(), AttributeValue::S(post)),
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
        let keys: Vec<_> = keys.iter().map(|(post, revision)| key(post, *revision)).collect();
        let items = self.items(&keys, patient(deadline)).await.into_iter();
        items.map(|item| item?.filter(|item| !is_grave(item)).map(item::from_item).transpose()).collect()
    }

    async fn of_post(&self, post: &PostId, deadline: Deadline) -> Result<History, StoreError> {
        const DOING: &str = "reading the decisions of a post";
        let (mut history, mut start) = (History::default(), None);
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
                match erased_in(&item) {
                    Some(erased) => history.tombstones.push(erased),
                    None => history.records.push(item::from_item(item)?),
                }
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(history);
            }
        }
    }

    async fn before(&self, post: &PostId, revision: Revision, deadline: Deadline) -> Result<Before, StoreError> {
        const DOING: &str = "looking for earlier verdicts";
        let (mut before, mut start) = (Before::default(), None);
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("post_id = :post AND revision < :revision")
                .filter_expression("decided_by = :human OR verdict_before = :yes OR attribute_exists(erased_at)")
                .projection_expression("revision, erased_at, erased_author")
                .expression_attribute_values(":post", AttributeValue::S(post.to_string()))
                .expression_attribute_values(":revision", AttributeValue::N(revision.to_string()))
                .expression_attribute_values(":human", AttributeValue::S("human".to_owned()))
                .expression_attribute_values(":yes", AttributeValue::S("yes".to_owned()))
                .consistent_read(true)
                .set_exclusive_start_key(start)
                .send();
            let answer = aws::call(DOING, deadline, request).await?;
            for item in answer.items.ok_or_else(|| aws::empty(DOING))? {
                match erased_in(&item) {
                    Some(erased) => before.tombstones.push(erased),
                    None => before.verdict = true,
                }
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(before);
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

    async fn tombstones(&self, graves: &[Grave], deadline: Deadline) -> Vec<Result<Option<Tombstone>, StoreError>> {
        // Posts of one author ask about the same grave, and a call that names a key twice is refused as a whole.
        let distinct: BTreeSet<&Grave> = graves.iter().collect();
        let keys: Vec<_> = distinct.iter().map(|grave| grave_key(grave)).collect();
        let items = self.items(&keys, deadline).await;
        let found: BTreeMap<&Grave, Result<Option<item::Item>, StoreError>> = distinct.into_iter().zip(items).collect();
        let answer = |grave| match found.get(grave) {
            Some(Ok(item)) => Ok(item.as_ref().and_then(item::tombstone)),
            Some(Err(error)) => Err(error.clone()),
            None => Err(StoreError::transient("reading decisions", "no answer")),
        };
        graves.iter().map(answer).collect()
    }

    async fn erase(
        &self,
        graves: &[Grave],
        tombstone: &Tombstone,
        deadline: Deadline,
    ) -> Vec<Result<Erased, StoreError>> {
        let mut answers = Vec::with_capacity(graves.len());
        for chunk in graves.chunks(PUTS_AT_ONCE) {
            let puts = chunk.iter().map(|grave| self.bury(grave, tombstone, deadline));
            answers.extend(futures::future::join_all(puts).await);
        }
        answers
    }

    async fn find(&self, search: Search, deadline: Deadline) -> Result<Page, StoreError> {
        const DOING: &str = "looking for decisions";
        const WANTED: &str = "post_id, revision, received_at";
        let Search { what, from } = search;
        let text = |id: &str| AttributeValue::S(id.to_owned());
        let query = || self.client.query().table_name(&self.table).set_exclusive_start_key(from.clone());
        let (items, looked_at, key) = match &what {
            Sought::Post(post) => {
                let query = query().key_condition_expression("post_id = :post");
                let query = query.filter_expression("attribute_not_exists(erased_at)").consistent_read(true);
                let query =
                    query.projection_expression(WANTED).expression_attribute_values(":post", text(post.as_str()));
                let answer = aws::call(DOING, deadline, query.send()).await?;
                (answer.items, answer.scanned_count, answer.last_evaluated_key)
            }
            Sought::Indexed(author) => {
                let query = query().index_name(BY_AUTHOR).key_condition_expression("author_id = :author");
                let query = query.expression_attribute_values(":author", text(author.as_str()));
                let answer = aws::call(DOING, deadline, query.send()).await?;
                (answer.items, answer.scanned_count, answer.last_evaluated_key)
            }
            Sought::Scanned(author, part, parts) => {
                let scan = self.client.scan().table_name(&self.table).segment(*part).total_segments(*parts);
                let scan = scan.filter_expression("author_id = :author").projection_expression(WANTED);
                let scan = scan.expression_attribute_values(":author", text(author.as_str()));
                let answer = aws::call(DOING, deadline, scan.set_exclusive_start_key(from).send()).await?;
                (answer.items, answer.scanned_count, answer.last_evaluated_key)
            }
        };
        let items = items.ok_or_else(|| aws::empty(DOING))?;
        let read: Vec<_> = items.iter().filter_map(found).collect();
        Ok(Page {
            unreadable: (items.len() - read.len()) as u64,
            found: read,
            looked_at: u64::try_from(looked_at).unwrap_or(0),
            next: key.map(|key| Search { what, from: Some(key) }),
        })
    }
}

/// The keys that a `BatchGetItem` on one table left over.
pub(crate) fn unprocessed(left: Option<HashMap<String, KeysAndAttributes>>) -> Vec<item::Item> {
    left.unwrap_or_default().into_values().flat_map(|left| left.keys).collect()
}

/// The number of no revision, before the first: a question for what is before any revision finds it.
const BELOW: u64 = 0;

/// What was erased here, and in which place; below the first counts as the first.
fn erased_in(item: &item::Item) -> Option<(Revision, Tombstone)> {
    let number = number_of(item)?;
    let revision = if number == BELOW { Revision::FIRST } else { Revision::try_from(number).ok()? };
    Some((revision, item::tombstone(item)?))
}

/// Whether something was erased here.
fn is_grave(item: &item::Item) -> bool {
    item.contains_key(item::ERASED_AT)
}

fn grave_key(grave: &Grave) -> item::Item {
    match grave {
        Grave::Post(post, revision) => key(post, *revision),
        Grave::Below(post) => key_of(post.to_string(), BELOW),
        // No post has such an id: a control character stands in it.
        Grave::Author(author) => key_of(format!("author\u{1f}{}", keyed_hex(*author)), Revision::FIRST.get()),
    }
}

fn number_of(item: &item::Item) -> Option<u64> {
    item.get("revision")?.as_n().ok()?.parse().ok()
}

fn found(item: &item::Item) -> Option<Found> {
    let text = |name: &str| Some(item.get(name)?.as_s().ok()?.as_str());
    Some(Found {
        post: PostId::try_from(text("post_id")?.to_owned()).ok()?,
        revision: Revision::try_from(number_of(item)?).ok()?,
        received_at: text("received_at")?.parse().ok()?,
    })
}

fn identity(item: &item::Item) -> Option<(String, u64)> {
    let post = item.get("post_id")?.as_s().ok()?.clone();
    Some((post, number_of(item)?))
}

fn named((post, revision): &(String, u64)) -> Option<(PostId, Revision)> {
    Some((post.clone().try_into().ok()?, (*revision).try_into().ok()?))
}

/// Decisions in memory.
#[derive(Debug, Default)]
pub struct MemoryDecisions {
    records: Mutex<BTreeMap<(PostId, Revision), DecisionRecord>>,
    tombstones: Mutex<BTreeMap<Grave, Tombstone>>,
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

    fn graves(&self) -> std::sync::MutexGuard<'_, BTreeMap<Grave, Tombstone>> {
        self.tombstones.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl DecisionStore for MemoryDecisions {
    async fn insert(&self, records: &[DecisionRecord], _deadline: Deadline) -> Vec<Result<Inserted, StoreError>> {
        use std::collections::btree_map::Entry;
        let (mut kept, graves) = (self.lock(), self.graves());
        records
            .iter()
            .map(|record| match kept.entry((record.post_id.clone(), record.revision)) {
                Entry::Occupied(_) => Ok(Inserted::Exists),
                Entry::Vacant(slot) if graves.contains_key(&Grave::Post(slot.key().0.clone(), slot.key().1)) => {
                    Ok(Inserted::Exists)
                }
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
                    if (before.provisional || record.content.conflict.is_some())
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

    async fn of_post(&self, post: &PostId, _deadline: Deadline) -> Result<History, StoreError> {
        let records = self.lock().values().filter(|record| record.post_id == *post).cloned().collect();
        let graves = self.graves();
        let tombstones = graves.iter().filter_map(|(grave, tombstone)| match grave {
            Grave::Post(of, revision) if of == post => Some((*revision, *tombstone)),
            Grave::Below(of) if of == post => Some((Revision::FIRST, *tombstone)),
            _ => None,
        });
        Ok(History { records, tombstones: tombstones.collect() })
    }

    async fn before(&self, post: &PostId, revision: Revision, _: Deadline) -> Result<Before, StoreError> {
        let (kept, graves) = (self.lock(), self.graves());
        let verdict = kept.range((post.clone(), Revision::FIRST)..(post.clone(), revision)).any(|(_, record)| {
            record.decided_by == DecidedBy::Human || record.verdict_before == domain::VerdictBefore::Yes
        });
        let tombstones = graves.iter().filter_map(|(grave, tombstone)| match grave {
            Grave::Post(of, earlier) if of == post && *earlier < revision => Some((*earlier, *tombstone)),
            Grave::Below(of) if of == post => Some((Revision::FIRST, *tombstone)),
            _ => None,
        });
        Ok(Before { verdict, tombstones: tombstones.collect() })
    }

    async fn tombstones(&self, graves: &[Grave], _: Deadline) -> Vec<Result<Option<Tombstone>, StoreError>> {
        let kept = self.graves();
        graves.iter().map(|grave| Ok(kept.get(grave).copied())).collect()
    }

    async fn erase(&self, graves: &[Grave], tombstone: &Tombstone, _: Deadline) -> Vec<Result<Erased, StoreError>> {
        let (mut records, mut kept) = (self.lock(), self.graves());
        let mut erase = |grave: &Grave| {
            if let Grave::Post(post, revision) = grave {
                let key = (post.clone(), *revision);
                if records.get(&key).is_some_and(|record| record.received_at >= tombstone.erased_at) {
                    return Ok(Erased::Later);
                }
                records.remove(&key);
            }
            kept.insert(grave.clone(), *tombstone);
            Ok(Erased::Done)
        };
        graves.iter().map(&mut erase).collect()
    }

    async fn find(&self, search: Search, _: Deadline) -> Result<Page, StoreError> {
        let kept = self.lock();
        let sought = |record: &&DecisionRecord| match &search.what {
            Sought::Post(post) => record.post_id == *post,
            // All of it is the first part.
            Sought::Scanned(_, 1.., _) => false,
            Sought::Indexed(author) | Sought::Scanned(author, ..) => record.author_id.as_ref() == Some(author),
        };
        let found = kept.values().filter(sought).map(|record| Found {
            post: record.post_id.clone(),
            revision: record.revision,
            received_at: record.received_at,
        });
        Ok(Page { found: found.collect(), unreadable: 0, looked_at: kept.len() as u64, next: None })
    }

    async fn overdue(&self, before: Timestamp, most: usize, _: Deadline) -> Result<Vec<DecisionRecord>, StoreError> {
        let mut open: Vec<_> =
            self.lock().values().filter(|record| is_open(record) && record.received_at < before).cloned().collect();
        open.sort_by_key(|record| record.received_at);
        open.truncate(most);
        Ok(open)
    }
}
