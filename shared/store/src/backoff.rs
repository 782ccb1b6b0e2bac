//! Waiting between tries of what the SDK does not retry: unprocessed keys, failed entries, throttled statements.

use crate::Deadline;
use crate::planted::planted;
use std::time::Duration;

/// The first wait is at most this long; each further one at most twice the last.
const FIRST: Duration = Duration::from_millis(25);
/// No wait is longer.
const LONGEST: Duration = Duration::from_millis(800);

/// Exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"), inside a deadline.
#[derive(Debug)]
pub struct Backoff {
    deadline: Deadline,
    bound: Duration,
}

impl Backoff {
    /// Backoff that ends at `deadline`.
    #[must_use]
    pub fn until(deadline: Deadline) -> Self {
        Self { deadline, bound: FIRST }
    }

    /// Waits a random while; `false` at once where the wait would not end before the deadline.
    pub async fn wait(&mut self) -> bool {
        let wait = self.bound.mul_f64(fastrand::f64());
        self.bound = (self.bound * 2).min(LONGEST);
        if Deadline::now() + wait >= self.deadline && !planted("retry-past-deadline") {
            return false;
        }
        tokio::time::sleep(wait).await;
        true
    }
}
