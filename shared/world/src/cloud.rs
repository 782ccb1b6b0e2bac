//! One AWS: its tables, queues and buckets, and which of them a request is for.

use crate::dynamodb::{self, Tables};
use crate::inbox::Inbox;
use crate::{s3, sagemaker, sqs};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// An HTTP request, as far as the services look at it.
pub struct Call<'a> {
    /// `GET`, `PUT` or `POST`.
    pub method: &'a str,
    /// Path and query, percent-encoded.
    pub path_and_query: &'a str,
    /// The header `X-Amz-Target`, which names the operation of DynamoDB and SQS.
    pub target: Option<&'a str>,
    /// `x-amz-meta-` headers of S3, without the prefix.
    pub metadata: BTreeMap<String, String>,
    /// The header `If-Match` of S3.
    pub if_match: Option<&'a str>,
    /// The header `If-None-Match` of S3.
    pub if_none_match: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

impl Call<'_> {
    /// The operation's name, such as `BatchGetItem`, or `GetObject`.
    #[must_use]
    pub fn operation(&self) -> &str {
        match self.target.and_then(|target| target.split('.').next_back()) {
            Some(operation) => operation,
            None if self.method == "POST" => "InvokeEndpoint",
            None if self.method == "PUT" => "PutObject",
            None if self.path_and_query.contains("list-type=2") => "ListObjectsV2",
            None => "GetObject",
        }
    }
}

/// An HTTP answer.
#[derive(Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A JSON answer of DynamoDB or SQS.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/x-amz-json-1.0".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }

    /// An error of DynamoDB or SQS.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        Self::json(status, &json!({ "__type": format!("com.amazonaws.fake#{code}"), "message": "as told" }))
    }
}

/// Decides, item by item, what a service does not do this time. The default does everything.
pub trait Partial {
    /// The code with which this statement, key or entry fails; `None` does it.
    fn refuse(&mut self, item: &str) -> Option<&'static str>;
    /// Whether a failing statement is carried out all the same: its error comes after the commit.
    fn after_commit(&mut self) -> bool {
        false
    }
}

/// Everything is done.
impl Partial for () {
    fn refuse(&mut self, _item: &str) -> Option<&'static str> {
        None
    }
}

/// What somebody was told or asked, and when.
#[derive(Clone)]
pub struct Told {
    /// The body.
    pub body: String,
    /// When it arrived.
    pub at: Instant,
}

/// Answers requests to an endpoint: status and body.
pub type Inference = Box<dyn FnMut(&str) -> (u16, Vec<u8>) + Send>;

/// What is kept.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) tables: Tables,
    pub(crate) queues: BTreeMap<String, Vec<Told>>,
    pub(crate) inboxes: BTreeMap<String, Inbox>,
    pub(crate) objects: BTreeMap<(String, String), s3::Kept>,
    pub(crate) endpoints: BTreeMap<String, Inference>,
    pub(crate) asked: BTreeMap<String, Vec<Told>>,
}

/// One AWS in memory. Tables come into being with the first request for them.
#[derive(Default)]
pub struct Cloud {
    state: Mutex<State>,
}

impl Cloud {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request; `partial` may leave parts of it undone.
    pub fn answer(&self, call: &Call<'_>, partial: &mut dyn Partial) -> Answer {
        match call.target.and_then(|target| target.split_once('.')) {
            Some((service, operation)) if service.starts_with("DynamoDB") => {
                dynamodb::answer(self, operation, call.body, partial)
            }
            Some((_, operation)) => sqs::answer(self, operation, call.body, partial),
            None if call.operation() == "InvokeEndpoint" => sagemaker::answer(self, call),
            None => s3::answer(self, call),
        }
    }

    /// Brings an endpoint into being.
    pub fn serve(&self, endpoint: &str, answers: Inference) {
        self.state().endpoints.insert(endpoint.to_owned(), answers);
    }

    /// The requests that reached an endpoint after the first `known`, in order.
    #[must_use]
    pub fn asked(&self, endpoint: &str, known: usize) -> Vec<Told> {
        self.state().asked.get(endpoint).and_then(|asked| asked.get(known..)).unwrap_or_default().to_vec()
    }

    /// Removes an item, as erasure or its time to live does.
    pub fn remove(&self, table: &str, item: &dynamodb::Item) {
        self.state().tables.remove(table, item);
    }

    /// What stands under the key of `item`.
    #[must_use]
    pub fn item(&self, table: &str, item: &dynamodb::Item) -> Option<dynamodb::Item> {
        self.state().tables.item(table, item)
    }

    /// The writes to a table after the first `known`, in order; those are forgotten.
    #[must_use]
    pub fn writes(&self, table: &str, known: usize) -> Vec<dynamodb::Write> {
        self.state().tables.writes(table, known)
    }

    /// Writes an item whatever stands there, as somebody else would.
    pub fn put(&self, table: &str, item: dynamodb::Item, by: &'static str) {
        self.state().tables.put(table, item, by);
    }

    /// The bodies that a queue was sent after the first `known`, in order.
    #[must_use]
    pub fn sent(&self, queue: &str, known: usize) -> Vec<String> {
        self.told(queue, known).into_iter().map(|told| told.body).collect()
    }

    /// As [`Cloud::sent`], with the instants.
    #[must_use]
    pub fn told(&self, queue: &str, known: usize) -> Vec<Told> {
        self.state().queues.get(queue).and_then(|bodies| bodies.get(known..)).unwrap_or_default().to_vec()
    }

    /// The bytes of an object.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        self.state().objects.get(&(bucket.to_owned(), key.to_owned())).map(|kept| kept.bytes.clone())
    }

    /// Keeps an object.
    pub fn keep(&self, bucket: &str, key: &str, bytes: impl Into<Vec<u8>>) {
        let kept = s3::Kept { bytes: bytes.into(), metadata: BTreeMap::new() };
        self.state().objects.insert((bucket.to_owned(), key.to_owned()), kept);
    }

    /// The keys of a bucket that begin with `prefix`.
    #[must_use]
    pub fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let state = self.state();
        let keys = state.objects.keys().filter(|(of, key)| of == bucket && key.starts_with(prefix));
        keys.map(|(_, key)| key.clone()).collect()
    }
}
