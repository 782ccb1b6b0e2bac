//! Which content a decision is about: what is public is what was decided (law 11).
//!
//! A record carries a keyed digest of the content it judged. When an id comes again, [`settle`] says what it is: the same content, whose
//! decision stands; an edit; or other content in a place that is taken.

use crate::policy::Decision;
use crate::{ContentRecord, DecidedBy, DecisionRecord, DigestKey, Post, Revision, VerdictBefore, keyed_hex};

/// Hexadecimal digits that are kept of the digest of objects: it only tells changes apart.
const OBJECT_DIGITS: usize = 8;

/// The digests of a post's content, and of what was read from the object behind its `text_ref`.
#[must_use]
pub fn digested(key: &DigestKey, post: &Post, object: Option<&str>) -> ContentRecord {
    let texts = post.texts().map(|(view, text)| (view.to_string(), text.to_owned()));
    let reference = post.text_ref.iter().map(|uri| ("text_ref".to_owned(), uri.clone()));
    let surface = post.surface.iter().map(|surface| ("surface".to_owned(), surface.clone()));
    let media = post.media.iter().map(|media| {
        let tag = media.etag.as_deref().unwrap_or_default();
        ("media".to_owned(), format!("{}\0{tag}", media.uri))
    });
    let parts: Vec<_> = texts.chain(reference).chain(surface).chain(media).collect();
    let bytes: Vec<&[u8]> = parts.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect();
    let objects = object.map(|text| {
        let mut hex = keyed_hex(key.digest("objects", &[text.as_bytes()]));
        hex.truncate(OBJECT_DIGITS);
        hex
    });
    ContentRecord { digest: Some(keyed_hex(key.digest("content", &bytes))), objects, ..ContentRecord::default() }
}

/// What is to become of a decision whose place, its (post, revision), is taken.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// The content is known: this decision stands.
    Stands(Box<DecisionRecord>),
    /// Another content has this revision, which the platform gave: both stand under one name. Decide again, not milder than what is
    /// there, and put it in the place of what is there.
    Conflicts(Box<DecisionRecord>),
    /// Decide as this revision, which is free.
    Next {
        /// The revision after the latest.
        revision: Revision,
        /// Not milder than this, where nobody can tell which content is public.
        conflict: Option<Decision>,
        /// Whether a person decided one before.
        verdict_before: VerdictBefore,
    },
    /// What had the place is gone: expired, or erased in this moment.
    Gone,
}

/// Whether `there`, which has the place of `own`, is known to be its decision without a look at the other revisions: it is about the same
/// content, and the message is the same, or says itself which revision it is.
#[must_use]
pub fn is_repeat(own: &DecisionRecord, revision_given: bool, there: &DecisionRecord) -> bool {
    let same = is_unknown(there, own) || is_of(&there.content, &own.content);
    same && (revision_given || own.received_at <= there.received_at)
}

/// Says what `own`, a decision that could not be inserted, is beside all `records` of its post, the oldest revision first.
///
/// Without a revision, an edit cannot be told from a message that comes late. A content that is known finds its own decision. Only where
/// it was sent after another content was decided otherwise, it may be public again: it is decided as a new revision, not milder than
/// the latest.
///
/// Revisions up to `erased` were erased. What was sent after that is decided all the same, in the next place that is free.
#[must_use]
pub fn settle(
    own: &DecisionRecord,
    revision_given: bool,
    records: &[DecisionRecord],
    erased: Option<Revision>,
) -> Settlement {
    let stands = |record: &DecisionRecord| Settlement::Stands(Box::new(record.clone()));
    let next = |conflict| next(records, erased, conflict);
    let Some(latest) = records.last() else {
        return if erased.is_some() { next(None) } else { Settlement::Gone };
    };
    let known = records.iter().rev().find(|record| is_of(&record.content, &own.content));
    if revision_given {
        let Some(there) = records.iter().find(|record| record.revision == own.revision) else {
            return match known {
                Some(moved) if erased.is_some() => stands(moved),
                _ if erased.is_some() => next(None),
                _ => Settlement::Gone,
            };
        };
        return match known {
            _ if is_unknown(there, own) || is_of(&there.content, &own.content) => stands(there),
            // A person decided: no machine replaces that, so the other content was given a revision of its own before.
            Some(moved) if moved.content.conflict.is_some() && moved.revision > there.revision => stands(moved),
            _ if there.decided_by == DecidedBy::Human => next(Some(there.decision)),
            _ => Settlement::Conflicts(Box::new(there.clone())),
        };
    }
    match known {
        Some(known) if known.revision == latest.revision || known.decision == latest.decision => stands(known),
        Some(known) if own.received_at <= latest.received_at => stands(known),
        Some(_) => next(Some(latest.decision)),
        None => match records.iter().find(|record| is_unknown(record, own)) {
            Some(unknown) => stands(unknown),
            None => next(None),
        },
    }
}

fn next(records: &[DecisionRecord], erased: Option<Revision>, conflict: Option<Decision>) -> Settlement {
    let by_person =
        |record: &DecisionRecord| record.decided_by == DecidedBy::Human || record.verdict_before == VerdictBefore::Yes;
    let latest = records.last();
    let last = latest.map(|latest| latest.revision).max(erased).map_or(0, Revision::get);
    match Revision::try_from(last + 1) {
        Ok(revision) => Settlement::Next {
            revision,
            conflict,
            verdict_before: if records.iter().any(by_person) { VerdictBefore::Yes } else { VerdictBefore::No },
        },
        // The last revision there can be is taken: nothing is free, and what is there stays under review.
        Err(_) => latest.map_or(Settlement::Gone, |latest| Settlement::Conflicts(Box::new(latest.clone()))),
    }
}

/// Whether one of the two does not say which content it is about: it was written by a version that did not, or without a key.
fn is_unknown(record: &DecisionRecord, own: &DecisionRecord) -> bool {
    record.content.digest.is_none() || own.content.digest.is_none()
}

/// Whether a record is about this content, or has met it.
fn is_of(record: &ContentRecord, own: &ContentRecord) -> bool {
    let Some(digest) = &own.digest else { return false };
    let objects = match (&record.objects, &own.objects) {
        (Some(record), Some(own)) => record == own,
        _ => true,
    };
    record.digest.as_ref() == Some(digest) && objects || record.others.contains(digest)
}
