//! What every implementation of a store owes its caller: the same checks on the stores in memory, always, and on
//! DynamoDB, S3 and SQS where `MODERATO_TEST_STACK_ENV` names the outputs of a stack (`.local/stack.env`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail by panicking"
)]

mod aws;
mod budgets;
mod decisions;
mod features;
mod items;
mod objects;
mod queues;
mod releases;
mod world;

use domain::PostId;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::Deadline;

fn soon() -> Deadline {
    Deadline::now() + Duration::from_secs(20)
}

/// An id that no earlier run on the same stack has used.
fn fresh(name: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("conformance-{name}-{:x}", since.as_nanos())
}

fn post_id(id: &str) -> PostId {
    PostId::try_from(id.to_owned()).unwrap()
}
