//! The judgement of Moderato, and nothing else: posts, evidence, policies and the decision between them.
//!
//! Everything here is pure: no I/O, no clock, no randomness, no `async`. A shell gathers [`Evidence`], calls
//! [`decide`], and writes down what came back as a [`DecisionRecord`]; what the record owes to others is
//! [`DecisionRecord::owed`], again a pure function, so that sending it twice sends the same ids.

pub mod condition;
mod content;
mod decide;
mod escalation;
mod evidence;
mod id;
pub mod json;
mod keyed;
pub mod policy;
pub mod post;
mod record;
mod timestamp;
mod tombstone;

pub use content::{Settlement, digested, is_repeat, settle};
pub use decide::{Considered, DecidedBy, Judgement, Outcome, Reason, consider, decide};
pub use escalation::Escalation;
pub use evidence::{
    Availability, Evidence, FeatureState, FeatureValue, FeatureValues, PostFacts, Score, ScoreState, Signal,
    VerdictBefore, View,
};
pub use id::{AuthorId, Harm, IdError, MAX_ID_BYTES, PostId, Revision, decision_id, sha256_hex};
pub use keyed::{DigestKey, DigestKeyError, KEYED_DIGEST_BYTES, KeyedDigest, keyed_hex};
pub use policy::{Adviser, Decision, Policy, PolicyError, SecondOpinion};
pub use post::{About, MAX_POST_BYTES, Media, Post, PostError, PostErrorKind};
pub use record::{
    ActionKind, ActionRequest, CONTENT_NOTE, Consulted, ContentRecord, DecisionRecord, Explanation, FIELD_NOTE,
    FeatureRecord, ImageRecord, ModelRef, Owed, PolicyRef, Region, Review, ReviewTask, ScoreRecord, Setting,
    SignalMatch, SignalRecord, Source, Span, UNDECIDABLE_NOTE, Unsearched, is_note,
};
pub use timestamp::{Timestamp, TimestampError};
pub use tombstone::{TOMBSTONE_DAYS, Tombstone};
