//! What the steps of one invocation hand to each other.

use domain::{DecisionRecord, Post, Timestamp, VerdictBefore};
use features::views::{Lookup, RowKey};
use runtime::Invocation;
use scoring::Text;
use std::collections::HashMap;
use std::time::Duration;
use store::{Deadline, StoreError};

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
pub(crate) struct Deadlines {
    pub(crate) started: Deadline,
    pub(crate) load: Deadline,
    pub(crate) judge: Deadline,
    pub(crate) record: Deadline,
    pub(crate) emit: Deadline,
}

impl Deadlines {
    /// Splits what is left until `end`; a short invocation shortens the tails in proportion.
    pub(crate) fn until(end: Deadline) -> Self {
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

/// Why a message is not decided.
#[derive(Clone)]
pub enum Trouble {
    /// It can never be decided: it is kept with the reason, and acknowledged.
    Reject {
        /// The typed reason.
        kind: &'static str,
        /// What is wrong, without content.
        detail: String,
        /// The original.
        bytes: Vec<u8>,
    },
    /// It may be decided later: it is delivered again.
    Retry(StoreError),
}

/// One post on its way. A message carries one, or several where it notifies of several objects.
pub(crate) struct Item {
    /// Which message of the batch it came with.
    pub(crate) message: usize,
    /// When that message reached the queue.
    pub(crate) received_at: Timestamp,
    /// The original, for quarantine.
    pub(crate) original: Vec<u8>,
    /// How far it came.
    pub(crate) state: State,
}

/// How far a post came.
pub(crate) enum State {
    /// Everything about it is looked up.
    Loaded { post: Box<Post>, text: Text, verdict_before: VerdictBefore },
    /// The same (post, revision) stands earlier in the batch, at this place; its fate is shared.
    Repeats(usize),
    /// It is decided; `stored` once the table has it, and `new` where it was this invocation that wrote it.
    Decided { record: Box<DecisionRecord>, stored: bool, new: bool },
    /// Everything is stored and sent.
    Done { record: Box<DecisionRecord>, new: bool },
    /// It is in quarantine.
    Quarantined { kind: &'static str },
    /// It is not decided.
    Trouble(Trouble),
}

/// One invocation's posts.
pub(crate) struct Work {
    pub(crate) items: Vec<Item>,
    pub(crate) lookups: HashMap<RowKey, Lookup>,
    pub(crate) deadlines: Deadlines,
    pub(crate) invocation: Invocation,
    pub(crate) tasks_sent: usize,
    pub(crate) actions_sent: usize,
}
