//! What the steps of one invocation hand to each other.

use crate::Without;
use domain::{DecisionRecord, Escalation, PostId, Revision, Timestamp};
use opinion::Question;
use runtime::Invocation;
use service::{Deadlines, Trouble};
use store::StoreError;

/// One post on its way; a message carries one.
pub(crate) struct Item {
    /// When the message reached its queue.
    pub(crate) sent_at: Timestamp,
    /// The original, for quarantine.
    pub(crate) original: Vec<u8>,
    /// How far it came.
    pub(crate) state: State,
}

/// How far a post came.
pub(crate) enum State {
    /// It is read; nothing is looked up yet. Where it is known already that there will be no second opinion, why.
    Read { key: (PostId, Revision), escalation: Option<Box<Escalation>>, without: Option<Without> },
    /// Its decision is provisional, and its content is at hand.
    Loaded { asked: Box<Asked> },
    /// The same (post, revision) stands earlier in the batch, at this place; its fate is shared.
    Repeats(usize),
    /// It is decided; `stored` once the table has it, and `new` where it was this invocation that wrote it.
    Decided { record: Box<DecisionRecord>, stored: bool, new: bool },
    /// Everything is stored and sent.
    Done { record: Box<DecisionRecord>, new: bool },
    /// There is no decision any more: it expired, or the post was erased, and what was erased is not decided again.
    Gone,
    /// Decisions that are overdue are to be looked for.
    Sweep,
    /// They were, and a message about each is sent.
    Swept { overdue: usize },
    /// They could not be; it says nothing of other messages.
    Unswept(StoreError),
    /// It is in quarantine.
    Quarantined { kind: &'static str },
    /// It is not decided.
    Trouble(Trouble),
}

/// A post that is asked about.
pub(crate) struct Asked {
    /// The provisional decision.
    pub(crate) before: DecisionRecord,
    /// When the event reached the posts queue.
    pub(crate) received_at: Timestamp,
    /// Why nobody is asked; `None` where somebody may be.
    pub(crate) without: Option<Without>,
    /// What is asked.
    pub(crate) question: Question,
    /// Whether its text is wanted and could not be had.
    pub(crate) unread: bool,
    /// For each of its media, why it is not among the images of the question; `None` where it is.
    pub(crate) unasked: Vec<Option<&'static str>>,
}

/// One invocation's posts, one a message.
pub(crate) struct Work {
    pub(crate) items: Vec<Item>,
    pub(crate) deadlines: Deadlines,
    pub(crate) invocation: Invocation,
    /// Of each post that was decided again: milliseconds from sent to decided, stored and handed on.
    pub(crate) latencies_ms: Vec<i64>,
    pub(crate) tasks_sent: usize,
    pub(crate) actions_sent: usize,
    /// Milliseconds that each request for opinions took.
    pub(crate) asked_ms: Vec<i64>,
}

impl Work {
    /// Milliseconds since the epoch now.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.invocation.now_ms())
    }
}
