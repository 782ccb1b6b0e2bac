//! Content that a message refers to, from the buckets that the deployment allows.

use domain::post::split_uri;
use runtime::planted::planted;
use runtime::telemetry;
use std::sync::Arc;
use store::{Deadline, ObjectStore, StoreError, TOO_LARGE};

/// Why something cannot be done about a message.
#[derive(Clone)]
pub enum Trouble {
    /// It can never be done: the original is kept with the reason, and acknowledged.
    Reject {
        /// The typed reason.
        kind: &'static str,
        /// What is wrong, without content.
        detail: String,
        /// The original; empty where that is the message itself.
        bytes: Arc<[u8]>,
    },
    /// It may be done later: the message is delivered again.
    Retry(StoreError),
}

impl Trouble {
    /// What can never be done, with the message itself as the original.
    #[must_use]
    pub fn rejected(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::Reject { kind, detail: detail.into(), bytes: Arc::default() }
    }

    /// Rejects what would fail in the same way however often it came, with `original` to be kept: no such error is tried again in
    /// silence.
    pub fn give_up(&mut self, original: Arc<[u8]>) {
        let Self::Retry(error) = self else { return };
        if !error.retryable && !planted("tried-for-ever") {
            let detail = error.to_string();
            let said = serde_json::json!({ "error": detail });
            telemetry::log("ERROR", "a message was refused, and would be refused again", &said);
            *self = Self::Reject { kind: "refused", detail, bytes: original };
        }
    }
}

/// Where content may be read.
#[derive(Clone)]
pub struct Content {
    /// How.
    pub objects: Arc<dyn ObjectStore>,
    /// From which buckets.
    pub buckets: Vec<String>,
}

impl Content {
    /// An object of at most `max_bytes`.
    ///
    /// # Errors
    /// Rejected as `bucket_not_allowed`, `object_missing` or `too_large`, or to be tried again.
    pub async fn object(
        &self,
        bucket: &str,
        key: &str,
        max_bytes: usize,
        deadline: Deadline,
    ) -> Result<Vec<u8>, Trouble> {
        if !self.buckets.iter().any(|allowed| allowed == bucket) {
            let detail = "content is read from the buckets in CONTENT_BUCKETS alone";
            return Err(Trouble::rejected("bucket_not_allowed", detail));
        }
        match self.objects.get(bucket, key, max_bytes, deadline).await {
            Ok(Some(object)) => Ok(object.bytes),
            Ok(None) => Err(Trouble::rejected("object_missing", "the object that holds the content does not exist")),
            Err(error) if error.code == TOO_LARGE => {
                Err(Trouble::rejected("too_large", format!("the object has more than {max_bytes} bytes")))
            }
            Err(_) if planted("transient-is-poison") => Err(Trouble::rejected("object_missing", "not there")),
            Err(error) if error.retryable => Err(Trouble::Retry(error)),
            Err(error) => Err(Trouble::rejected(
                "object_unreadable",
                format!("the object that holds the content cannot be read: {error}"),
            )),
        }
    }

    /// As [`Content::object`], by an `s3://bucket/key`: the key as it stands there, whose `%2F` is no slash.
    ///
    /// # Errors
    /// Besides those, rejected as `invalid_field` where it is no such address.
    pub async fn at(&self, uri: &str, max_bytes: usize, deadline: Deadline) -> Result<Vec<u8>, Trouble> {
        let (bucket, key) =
            split_uri(uri).ok_or_else(|| Trouble::rejected("invalid_field", "content must be at `s3://bucket/key`"))?;
        self.object(bucket, key, max_bytes, deadline).await
    }
}
