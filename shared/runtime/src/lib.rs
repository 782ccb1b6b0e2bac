//! Lambda and SQS plumbing that every queue function shares: raw messages in, a batch report out, panics that fail one
//! message, a deadline that leaves time for the tail, telemetry without content. The only shared crate that names
//! `lambda_runtime`; it knows nothing of posts.

mod panics;
pub mod planted;
mod sqs;
pub mod telemetry;

pub use panics::{Panicked, isolate, silence_panics};
pub use sqs::{BatchResponse, SqsBatch, SqsMessage};

use futures::FutureExt;
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::value::RawValue;
use std::{future::Future, panic::AssertUnwindSafe, time::Duration};
use tokio::time::Instant;

/// Whatever ends a function's process: it is reported to Lambda and logged there.
pub type Error = lambda_runtime::Error;

/// What a handler is told about its invocation besides the batch.
#[derive(Debug, Clone, Copy)]
pub struct Invocation {
    /// When Lambda ends the function.
    pub deadline: Instant,
    /// The same on the wall clock, in milliseconds since the epoch.
    pub deadline_ms: i64,
    /// Whether this is the first invocation of the process.
    pub cold_start: bool,
}

impl Invocation {
    /// Milliseconds since the epoch now, on the clock that the deadline was given on.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let now = Instant::now();
        let milliseconds = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match self.deadline.checked_duration_since(now) {
            Some(left) => self.deadline_ms.saturating_sub(milliseconds(left)),
            None => self.deadline_ms.saturating_add(milliseconds(now.duration_since(self.deadline))),
        }
    }
}

/// Serves batches of SQS messages until Lambda ends the process. The handler returns the messages that are to be
/// delivered again, or an error where it did not begin: then all of them come again.
///
/// # Errors
/// Only where the Lambda runtime API fails.
pub async fn serve<F, Fut, E>(handler: F) -> Result<(), Error>
where
    F: Fn(SqsBatch, Invocation) -> Fut,
    Fut: Future<Output = Result<BatchResponse, E>>,
    E: Into<Error>,
{
    silence_panics();
    let cold = std::cell::Cell::new(true);
    let (handler, cold) = (&handler, &cold);
    lambda_runtime::run(service_fn(async move |event: LambdaEvent<Box<RawValue>>| {
        let deadline_ms = event.context.deadline;
        let invocation = Invocation {
            deadline: deadline(deadline_ms),
            deadline_ms: i64::try_from(deadline_ms).unwrap_or(i64::MAX),
            cold_start: cold.replace(false),
        };
        let answer = async { handler(SqsBatch::parse(&event.payload)?, invocation).await.map_err(Into::into) };
        // Uncaught, what the panic says would be told to Lambda, and it may quote content (law 8).
        let panicked = |_| Err(Error::from("the handler panicked; the place is in the log"));
        AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(panicked)
    }))
    .await
}

/// Lambda's deadline, given in milliseconds of the wall clock, on the clock that timeouts use.
fn deadline(epoch_ms: u64) -> Instant {
    let now_ms = telemetry::now_ms();
    Instant::now() + Duration::from_millis(epoch_ms.saturating_sub(now_ms.unsigned_abs()))
}
