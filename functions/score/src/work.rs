//! What the steps of one invocation hand to each other.

use domain::{DecisionRecord, Post, Timestamp, VerdictBefore};
use features::views::{Lookup, RowKey};
use runtime::Invocation;
use scoring::Text;
use service::Deadlines;
pub use service::Trouble;
use std::collections::HashMap;

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
    Decided { post: Box<Post>, record: Box<DecisionRecord>, stored: bool, new: bool },
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
    pub(crate) escalations_sent: usize,
}
