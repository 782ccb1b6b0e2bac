//! Stores and queues: what Moderato asks of the world outside, as small traits, each with its AWS and its in-memory
//! implementation side by side, held to the same conformance tests.
//!
//! Every call carries a deadline and gives up before it. Answers are aligned with what was asked, item by item: one
//! bad item never fails its neighbours. An error says whether trying again can help ([`StoreError::retryable`]).

pub mod aws;
mod backoff;
mod budget;
mod decisions;
mod features;
mod inference;
mod item;
mod objects;
// The same few lines as in `runtime`, which `store` must not stand on.
#[path = "../../runtime/src/planted.rs"]
pub mod planted;
mod queue;

pub use aws::{Aws, Connection, connect, secret};
pub use backoff::Backoff;
pub use budget::{Budget, DynamoBudget, MemoryBudget};
pub use decisions::{
    Before, DecisionStore, DynamoDecisions, Erased, Found, Grave, History, Inserted, MemoryDecisions, Page, Search,
    Size, Superseded,
};
pub use features::{DynamoFeatures, FeatureStore, MemoryFeatures};
pub use inference::{BUSY, Inference, NO_ENDPOINT, SageMaker};
pub use item::{item_size, write_units};
pub use objects::{MemoryObjects, Object, ObjectInfo, ObjectStore, S3Objects, TOO_LARGE, Tag, VersionedObjects};
pub use queue::{Depth, MemoryQueue, Message, Moving, Queue, Received, SqsQueue};
pub use tokio::time::Instant as Deadline;

/// A call to a store that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {code}")]
pub struct StoreError {
    /// What we were doing.
    pub doing: &'static str,
    /// What the service called it; never content.
    pub code: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

impl StoreError {
    /// An error that may go away.
    #[must_use]
    pub fn transient(doing: &'static str, code: impl Into<String>) -> Self {
        Self { doing, code: code.into(), retryable: true }
    }

    /// An error that will come again.
    #[must_use]
    pub fn permanent(doing: &'static str, code: impl Into<String>) -> Self {
        Self { doing, code: code.into(), retryable: false }
    }
}
