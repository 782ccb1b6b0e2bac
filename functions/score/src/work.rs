//! What the steps of one invocation hand to each other.

use domain::policy::Decision;
use domain::{ContentRecord, DecisionRecord, Post, Source, Timestamp, Tombstone, VerdictBefore, View};
use features::views::{Lookup, RowKey};
use runtime::Invocation;
use scoring::Text;
use service::Deadlines;
pub use service::Trouble;
use std::collections::HashMap;
use std::sync::Arc;

/// One post on its way. A message carries one, or several.
pub(crate) struct Item {
    /// Which message of the batch it came with.
    pub(crate) message: usize,
    /// When that message reached the queue.
    pub(crate) received_at: Timestamp,
    /// Which queue that was, and who sent it there.
    pub(crate) source: Source,
    /// The original, for quarantine; all posts of a message share it.
    pub(crate) original: Arc<[u8]>,
    /// Why the event cannot be decided as it came, where that is so: beside its decision it is kept in quarantine.
    pub(crate) reject: Option<Kept>,
    /// How far it came.
    pub(crate) state: State,
}

/// What is to be kept in quarantine, and why.
pub(crate) struct Kept {
    pub(crate) kind: &'static str,
    pub(crate) detail: String,
    pub(crate) bytes: Arc<[u8]>,
}

/// A post with everything that it is judged on, besides features.
pub(crate) struct Subject {
    pub(crate) post: Post,
    pub(crate) texts: Vec<(View, Text)>,
    /// Digests of its content.
    pub(crate) content: ContentRecord,
    pub(crate) verdict_before: VerdictBefore,
    /// Earlier revisions that were erased.
    pub(crate) erased: Vec<Tombstone>,
    /// What the post was decided before on other content, where this decision may not be milder.
    pub(crate) conflict: Option<Decision>,
}

/// How far a post came.
pub(crate) enum State {
    /// Everything about it is looked up.
    Loaded(Box<Subject>),
    /// The same content of the same (post, revision) stands earlier in the batch, at this place; its fate is shared.
    Repeats(usize),
    /// It is decided; nothing is stored yet. `supersedes` where it takes the place of a decision on other content.
    Decided { subject: Box<Subject>, record: Box<DecisionRecord>, supersedes: bool },
    /// This decision is stored; `new` where it was this invocation that wrote it.
    Stored { post: Box<Post>, record: Box<DecisionRecord>, new: bool },
    /// Everything is stored and sent.
    Done { record: Box<DecisionRecord>, new: bool },
    /// More posts than one message may hold: they are put back as these messages.
    Split(Vec<String>),
    /// They are on the queue.
    PutBack,
    /// It was sent before its post or author was erased: nothing is decided any more.
    Erased,
    /// It is in quarantine, and names no post that could be decided.
    Quarantined,
    /// It is not decided.
    Trouble(Trouble),
}

/// One invocation's posts.
pub(crate) struct Work {
    pub(crate) items: Vec<Item>,
    pub(crate) lookups: HashMap<RowKey, Lookup>,
    pub(crate) deadlines: Deadlines,
    pub(crate) invocation: Invocation,
    /// Of each post that was decided anew: milliseconds from sent to decided, stored and handed on.
    pub(crate) latencies_ms: Vec<i64>,
    pub(crate) tasks_sent: usize,
    pub(crate) actions_sent: usize,
    pub(crate) escalations_sent: usize,
    /// Events that were kept in quarantine, by kind.
    pub(crate) kept: Vec<&'static str>,
    /// Decisions on content that came under an id and revision that other content had.
    pub(crate) conflicts: usize,
}

/// Texts of up to this many bytes together are short: judging one takes milliseconds.
const SHORT_BYTES: usize = 16 * 1024;

impl Subject {
    /// Bytes of text to be read.
    pub(crate) fn weight(&self) -> usize {
        self.texts.iter().map(|(_, text)| if let Text::Known(text) = text { text.len() } else { 0 }).sum()
    }
}

impl Work {
    /// The order in which posts are decided: all short ones together, then the long ones each by itself, the shortest first. So nobody
    /// waits for a long post but itself.
    pub(crate) fn turns(&self) -> Vec<Vec<usize>> {
        let weights = self.items.iter().enumerate().map(|(place, item)| match &item.state {
            State::Loaded(subject) => (subject.weight(), place),
            _ => (0, place),
        });
        let (short, mut long): (Vec<_>, Vec<_>) = weights.partition(|(weight, _)| *weight <= SHORT_BYTES);
        long.sort_unstable();
        let short = short.into_iter().map(|(_, place)| place).collect();
        std::iter::once(short).chain(long.into_iter().map(|(_, place)| vec![place])).collect()
    }
}
