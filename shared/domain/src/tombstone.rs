//! What stands in the place of what was erased, for as long as a message about it may still be under way.

use crate::{AuthorId, DigestKey, KeyedDigest, PostId, Timestamp};

/// How long a tombstone stands, in days: longer than the 14 that a queue keeps a message at most.
pub const TOMBSTONE_DAYS: u32 = 15;

/// Something was erased here. It says when and, by a keyed digest, whose it was; nothing of what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// Whatever was sent before this is not decided any more.
    pub erased_at: Timestamp,
    /// Whose posts were erased; `None` where the post was, whoever wrote it.
    pub author: Option<KeyedDigest>,
}

impl Tombstone {
    /// Whether a post that was sent at `sent_at` by this author is part of what was erased. A platform may use one id for things of two
    /// authors: the other's are not. Of a post without an author nobody can say so.
    #[must_use]
    pub fn covers(&self, sent_at: Timestamp, author: Option<KeyedDigest>) -> bool {
        let others = self.author.zip(author).is_some_and(|(erased, author)| erased != author);
        sent_at < self.erased_at && !others
    }
}

impl DigestKey {
    /// Stands for an author where the id may not stand.
    #[must_use]
    pub fn author(&self, author: &AuthorId) -> KeyedDigest {
        self.digest("author", &[author.as_str().as_bytes()])
    }

    /// Stands for a post where the id may not stand.
    #[must_use]
    pub fn post(&self, post: &PostId) -> KeyedDigest {
        self.digest("post", &[post.as_str().as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn what_was_sent_before_by_whom_it_was_of_is_covered() {
        let at = Timestamp::from_millis;
        let (one, other) = ([1; 16], [2; 16]);
        for (author, sent, by, covered) in [
            (Some(one), 999, Some(one), true),
            (Some(one), 1_000, Some(one), false),
            (Some(one), 1_001, Some(one), false),
            (Some(one), 999, Some(other), false),
            (Some(one), 999, None, true),
            (None, 999, Some(other), true),
            (None, 999, None, true),
            (None, 1_000, None, false),
        ] {
            let tombstone = Tombstone { erased_at: at(1_000), author };
            assert_eq!(tombstone.covers(at(sent), by), covered, "{author:?} {sent} {by:?}");
        }
    }
}
