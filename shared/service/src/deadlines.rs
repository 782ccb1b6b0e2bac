//! The time of one invocation, split into its steps.

use std::time::Duration;
use store::Deadline;

/// Kept for sending what is owed, after everything is stored.
const EMIT_TAIL: Duration = Duration::from_millis(500);
/// Kept for storing and sending.
const RECORD_TAIL: Duration = Duration::from_secs(3);
/// Kept for the tail of a batch: no new post is taken up after that.
const JUDGE_TAIL: Duration = Duration::from_secs(6);
/// Looking things up may not eat what judging needs.
const LOAD_TAIL: Duration = Duration::from_secs(10);

/// The points in time by which the steps of an invocation have to be done.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// When it began.
    pub started: Deadline,
    /// Looking up.
    pub load: Deadline,
    /// Judging.
    pub judge: Deadline,
    /// Storing.
    pub record: Deadline,
    /// Sending.
    pub emit: Deadline,
}

impl Deadlines {
    /// Splits what is left until `end`; a short invocation shortens the tails in proportion.
    #[must_use]
    pub fn until(end: Deadline) -> Self {
        let started = Deadline::now();
        let left = end.saturating_duration_since(started);
        let tail = |tail: Duration, share: u32| end.checked_sub(tail.min(left * share / 10)).unwrap_or(started);
        Self {
            started,
            load: tail(LOAD_TAIL, 7),
            judge: tail(JUDGE_TAIL, 5),
            record: tail(RECORD_TAIL, 3),
            emit: tail(EMIT_TAIL, 1),
        }
    }
}
