//! What is written down of a decision, and what it owes to others.

use crate::policy::{Adviser, Decision, Policy};
use crate::{
    AuthorId, Availability, DecidedBy, Evidence, FeatureState, FeatureValues, Harm, Judgement, PostFacts, PostId,
    Reason, Revision, Score, ScoreState, Signal, Timestamp, VerdictBefore, View, decision_id,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A decision with all it was decided on, and no content: digests and spans only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// See [`decision_id`].
    pub decision_id: String,
    /// The post.
    pub post_id: PostId,
    /// Which version of it.
    pub revision: Revision,
    /// Who wrote it.
    pub author_id: Option<AuthorId>,
    /// What is done with it.
    pub decision: Decision,
    /// Calibrated probability of the leading harm; null where no model answered.
    pub score: Option<f64>,
    /// Who it goes back to.
    pub decided_by: DecidedBy,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Who should look, and until when; absent for approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// What models said, by harm.
    pub scores: BTreeMap<Harm, ScoreRecord>,
    /// The policy that was applied.
    pub policy: PolicyRef,
    /// The model of the leading harm.
    pub model: ModelRef,
    /// The feature values that were looked at.
    pub features: FeatureRecord,
    /// What the event said besides its content.
    #[serde(default)]
    pub post: PostFacts,
    /// Attached media.
    #[serde(default, skip_serializing_if = "is_default")]
    pub media: Availability,
    /// What was seen in attached images, in their order; empty where nobody looked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageRecord>,
    /// What banks of signals found, by bank; empty where none is live.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, SignalRecord>,
    /// Whether a person decided an earlier revision.
    #[serde(default, skip_serializing_if = "is_default")]
    pub verdict_before: VerdictBefore,
    /// The second opinion that was asked for; absent where none was, or it is still on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_opinion: Option<Consulted>,
    /// Where in the text the score comes from; absent for approve unless asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
    /// Which content was judged; absent on records of versions that did not say.
    #[serde(default, skip_serializing_if = "is_default")]
    pub content: ContentRecord,
    /// Where the message came from; absent on records of versions that did not say, and of the command.
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: Source,
    /// Whether a second opinion is on its way.
    pub provisional: bool,
    /// 1 for the first decision on this revision, growing when it is decided again.
    pub attempt: u32,
    /// Evidence and parts of the service that were not to be had.
    pub degraded: Vec<String>,
    /// When the event reached the queue.
    pub received_at: Timestamp,
    /// When this was decided.
    pub decided_at: Timestamp,
    /// What deciding cost, in millionths of a US dollar; an estimate from list prices.
    pub cost_usd_micro: f64,
    /// `decision/1`.
    pub schema: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Which content a decision is about, without the content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContentRecord {
    /// Keyed digest of the content of the event: texts, addresses of text and media with their entity tags, surface. 32 hexadecimal digits; absent where there is no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Keyed digest of what was read from the objects that the event names: 8 hexadecimal digits; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<String>,
    /// Parts of the content that could not be read, by view.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// Digests of other content that came under the same id and revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// What the post was decided before on other content: this decision is not milder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Decision>,
}

/// Where a message came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Source {
    /// Name of the queue.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub queue: String,
    /// Who sent the message to it, as SQS names them: a user or role id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sender: String,
}

/// Who should look at a decided post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The policy's lane.
    pub lane: String,
    /// Its priority at the time: 1 is the most urgent.
    pub priority: u8,
    /// Until when.
    pub due_at: Timestamp,
}

/// Who gave a second opinion, or why nobody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consulted {
    /// Who the policy says gives it.
    pub by: Adviser,
    /// Whether it was had.
    pub state: ScoreState,
    /// Why it was not: `off`, `late`, `tries`, `budget`, `breaker`, `timeout`, `failed`, `unusable` or `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `name@version` of the text model that gave it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// What was seen in an image.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Why it, or a part of it, could not be looked at; absent where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Lines of text that were read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lines: u32,
    /// Its perceptual hash (PDQ), 64 hexadecimal digits, where it is on the block list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdq: Option<String>,
    /// The entry of the block list that it is a near duplicate of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
}

/// What a bank of signals found. Of one that found nothing, nothing but its name stands here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SignalRecord {
    /// How many of its entries were found, each counted once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub found: u32,
    /// What could not be had, so that there may be more; empty on a good day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Unsearched>,
    /// The first digits of the digest of the bank that found something.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// At most five of the entries, with a place each; none where the post is approved, unless asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<SignalMatch>,
}

/// What a bank was not searched for, or in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsearched {
    /// The bank itself could not be had.
    Bank,
    /// A text of the post could not be read, or not to its end.
    Text,
    /// An image of the post was not looked at, or not yet.
    Images,
}

/// An entry of a bank and where in the post it was found: never what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalMatch {
    /// The line of the bank's file, in the version that the record names.
    pub line: u32,
    /// What of the post it was found in; absent for the text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub view: View,
    /// First code point in the text of that view, or of the line of text in an image; 0 for an image.
    #[serde(default, skip_serializing_if = "is_default")]
    pub start: usize,
    /// One past the last; 0 for an image.
    #[serde(default, skip_serializing_if = "is_default")]
    pub end: usize,
    /// Left, top, right and bottom of the box around the line of text, in pixels, where it stands in an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<[u32; 4]>,
    /// What the bank's author calls the entry, where the bank says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl From<&SignalRecord> for Signal {
    fn from(record: &SignalRecord) -> Self {
        Self { found: record.found, partial: !record.partial.is_empty() }
    }
}

impl From<&Signal> for SignalRecord {
    fn from(signal: &Signal) -> Self {
        let partial = if signal.partial { vec![Unsearched::Bank] } else { Vec::new() };
        Self { found: signal.found, partial, ..Self::default() }
    }
}

/// A score as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRecord {
    /// Before calibration.
    pub raw: Option<f64>,
    /// After it.
    pub calibrated: Option<f64>,
    /// `name@version`.
    pub model: String,
    /// Whether there is one.
    pub state: ScoreState,
    /// What of the post it was read from; absent for the text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub view: View,
}

/// Which policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Digest of its file.
    pub sha256: String,
    /// `true` where nobody could say which policy is wanted, and this is the one that the program was shipped with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub assumed: bool,
}

/// Which model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Digest of its manifest, which carries the digests of its files.
    pub sha256: String,
}

/// The feature values a decision was made on, at the time it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct FeatureRecord {
    /// The set of definitions.
    pub set: String,
    /// Digest of the definitions.
    pub sha256: String,
    /// Values that were present or stale.
    pub values: FeatureValues,
    /// Looked for and not there.
    pub missing: Vec<String>,
    /// Older than their definition allows; their values stand in `values`.
    pub stale: Vec<String>,
    /// Could not be asked for.
    pub unavailable: Vec<String>,
}

/// Which parts of the text the score comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// How it was found: `linear` for the weights of the linear model, `occlusion` for what the score loses without a word, `lines` for
    /// the lines read in an image.
    pub method: String,
    /// At most five, the heaviest first.
    pub spans: Vec<Span>,
    /// Where in an image the score comes from, where it comes from the text in one: at most five lines, the heaviest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Region>,
}

/// A line of text in an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Which image, counted from 0.
    pub image: u32,
    /// Which frame of it, counted from 0: the first in which the line stands.
    #[serde(default, skip_serializing_if = "is_default")]
    pub frame: u32,
    /// Left, top, right and bottom of the box around it, in pixels.
    pub bounds: [u32; 4],
    /// Calibrated probability of the harm of this line alone.
    pub weight: f64,
}

/// A part of the text, in Unicode code points from its beginning; the end is not included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// First code point.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// What it adds to the log-odds of the harm.
    pub weight: f64,
}

/// A task for reviewers. Its id is a function of the decision's, so that sending it twice makes one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReviewTask {
    /// `task/1`.
    pub schema: String,
    /// `<decision_id>-task`.
    pub task_id: String,
    /// The decision.
    pub decision_id: String,
    /// The post.
    pub post_id: PostId,
    /// Which version of it.
    pub revision: Revision,
    /// Who wrote it.
    pub author_id: Option<AuthorId>,
    /// What was decided for now.
    pub decision: Decision,
    /// Calibrated probability of the leading harm.
    pub score: Option<f64>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The policy's lane.
    pub lane: String,
    /// 1 is the most urgent.
    pub priority: u8,
    /// Until when a person should have looked.
    pub due_at: Timestamp,
    /// When the decision was made.
    pub created_at: Timestamp,
}

/// What the platform is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Hide the post.
    Hide,
    /// Show the post: an earlier revision of it may have been hidden.
    Publish,
}

/// An enforcement action. Its id is a function of the decision's, so that sending it twice asks once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionRequest {
    /// `action/1`.
    pub schema: String,
    /// `<decision_id>-<attempt>-<action>`.
    pub action_id: String,
    /// The decision.
    pub decision_id: String,
    /// The post.
    pub post_id: PostId,
    /// Which version of it: a consumer that knows a newer one drops this.
    pub revision: Revision,
    /// Who wrote it.
    pub author_id: Option<AuthorId>,
    /// What to do.
    pub action: ActionKind,
    /// Which decision on this revision asks: a consumer that knows a later one drops this. Messages written before there were second
    /// opinions lack it.
    #[serde(default = "first")]
    pub attempt: u32,
    /// Why.
    pub reasons: Vec<Reason>,
    /// When it was decided.
    pub decided_at: Timestamp,
}

fn first() -> u32 {
    1
}

/// What a decision owes to others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Owed {
    /// To reviewers.
    pub task: Option<ReviewTask>,
    /// To the platform.
    pub action: Option<ActionRequest>,
    /// Whether a second opinion is to be asked for; then the review task is owed by whoever asks.
    pub second_opinion: bool,
}

/// Where and when a decision is made, and with what: the parts of a record that are not judgement.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The model of the leading harm.
    pub model: ModelRef,
    /// Name of the feature definitions.
    pub feature_set: String,
    /// Digest of the feature definitions.
    pub feature_sha256: String,
    /// When the event reached the queue.
    pub received_at: Timestamp,
    /// Now.
    pub decided_at: Timestamp,
}

impl PolicyRef {
    /// Names a policy that was published.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let Policy { id, version, sha256, .. } = policy;
        Self { id: id.clone(), version: version.clone(), sha256: sha256.clone(), assumed: false }
    }
}

/// Begins the names, among what a record says is degraded, of fields that were wrong and count as absent.
pub const FIELD_NOTE: &str = "field:";
/// Begins the names of why a part of the content could not be read.
pub const CONTENT_NOTE: &str = "content:";
/// Begins the name of why an event could not be decided as it came.
pub const UNDECIDABLE_NOTE: &str = "undecidable:";
/// Notes on how the event itself was read: its JSON was repaired; characters that are none were replaced.
const NOTES: [&str; 2] = ["json", "characters"];

/// Whether a name among what a record says is degraded is about the event itself, and so stays when the post is decided again.
#[must_use]
pub fn is_note(name: &str) -> bool {
    [FIELD_NOTE, CONTENT_NOTE, UNDECIDABLE_NOTE].iter().any(|begin| name.starts_with(begin)) || NOTES.contains(&name)
}

impl DecisionRecord {
    /// Writes down a judgement with the evidence it was made on. The cost is filled in by whoever stores it.
    #[must_use]
    pub fn new(
        (post_id, author_id): (PostId, Option<AuthorId>),
        evidence: &Evidence,
        policy: &Policy,
        judgement: Judgement,
        setting: Setting,
    ) -> Self {
        let revision = evidence.revision;
        let lane = judgement.lane.and_then(|name| policy.lanes.get(&name).map(|lane| (name, *lane)));
        Self {
            decision_id: decision_id(&post_id, revision),
            post_id,
            revision,
            author_id,
            decision: judgement.decision,
            score: judgement.score,
            decided_by: judgement.decided_by,
            reasons: judgement.reasons,
            review: lane.map(|(name, lane)| Review {
                lane: name,
                priority: lane.priority,
                due_at: setting.decided_at.plus_minutes(lane.due_minutes),
            }),
            scores: evidence.scores.iter().map(|(harm, score)| (harm.clone(), score.into())).collect(),
            policy: PolicyRef { assumed: evidence.policy_assumed, ..PolicyRef::of(policy) },
            model: setting.model,
            features: features(evidence, setting.feature_set, setting.feature_sha256),
            post: evidence.post.clone(),
            media: evidence.media,
            images: Vec::new(),
            signals: evidence.signals.iter().map(|(bank, signal)| (bank.clone(), signal.into())).collect(),
            verdict_before: evidence.verdict_before,
            second_opinion: None,
            explanation: None,
            content: ContentRecord { conflict: evidence.conflict, ..ContentRecord::default() },
            source: Source::default(),
            provisional: false,
            attempt: 1,
            degraded: judgement.degraded,
            received_at: setting.received_at,
            decided_at: setting.decided_at,
            cost_usd_micro: 0.0,
            schema: "decision/1".to_owned(),
        }
    }

    /// The evidence this was decided on: deciding on it again under the same policy gives the same (law 7).
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let recorded = &self.features;
        let stale = |name: &String| recorded.stale.contains(name);
        let values = recorded.values.iter().map(|(name, value)| {
            (name.clone(), if stale(name) { FeatureState::Stale(*value) } else { FeatureState::Present(*value) })
        });
        let missing = recorded.missing.iter().map(|name| (name.clone(), FeatureState::Missing));
        let unavailable = recorded.unavailable.iter().map(|name| (name.clone(), FeatureState::Unavailable));
        Evidence {
            revision: self.revision,
            post: self.post.clone(),
            scores: self.scores.iter().map(|(harm, score)| (harm.clone(), score.into())).collect(),
            features: values.chain(missing).chain(unavailable).collect(),
            media: self.media,
            blocked_media: u32::try_from(self.images.iter().filter(|image| image.blocked.is_some()).count())
                .unwrap_or(u32::MAX),
            signals: self.signals.iter().map(|(bank, signal)| (bank.clone(), signal.into())).collect(),
            verdict_before: self.verdict_before,
            second_opinion: match &self.second_opinion {
                None => Availability::None,
                Some(consulted) if consulted.state == ScoreState::Ok => Availability::Available,
                Some(_) => Availability::Unavailable,
            },
            content_unread: !self.content.unread.is_empty(),
            conflict: self.content.conflict,
            policy_assumed: self.policy.assumed,
        }
    }

    /// What this decision owes to reviewers and to the platform: a function of the record alone, so that a message
    /// delivered again sends the same ids. A person's decision owes nothing from here. A first revision that is not
    /// hidden owes the platform nothing: it is published already. So does a later decision on any revision, since what a second opinion
    /// replaces was never hidden. Until that opinion is there, no task is owed: one place sends it.
    #[must_use]
    pub fn owed(&self) -> Owed {
        if self.decided_by == DecidedBy::Human {
            return Owed::default();
        }
        let action = match self.decision {
            Decision::Hide => Some(ActionKind::Hide),
            Decision::Approve | Decision::Review if self.revision > Revision::FIRST && self.attempt == 1 => {
                Some(ActionKind::Publish)
            }
            Decision::Approve | Decision::Review => None,
        };
        Owed {
            second_opinion: self.provisional,
            task: self.review.as_ref().filter(|_| !self.provisional).map(|review| ReviewTask {
                schema: "task/1".to_owned(),
                task_id: format!("{}-task", self.decision_id),
                decision_id: self.decision_id.clone(),
                post_id: self.post_id.clone(),
                revision: self.revision,
                author_id: self.author_id.clone(),
                decision: self.decision,
                score: self.score,
                reasons: self.reasons.clone(),
                lane: review.lane.clone(),
                priority: review.priority,
                due_at: review.due_at,
                created_at: self.decided_at,
            }),
            action: action.map(|action| ActionRequest {
                schema: "action/1".to_owned(),
                action_id: format!(
                    "{}-{}-{}",
                    self.decision_id,
                    self.attempt,
                    if action == ActionKind::Hide { "hide" } else { "publish" }
                ),
                decision_id: self.decision_id.clone(),
                post_id: self.post_id.clone(),
                revision: self.revision,
                author_id: self.author_id.clone(),
                action,
                attempt: self.attempt,
                reasons: self.reasons.clone(),
                decided_at: self.decided_at,
            }),
        }
    }
}

fn features(evidence: &Evidence, set: String, sha256: String) -> FeatureRecord {
    let mut record = FeatureRecord { set, sha256, ..FeatureRecord::default() };
    for (name, state) in &evidence.features {
        match state {
            FeatureState::Present(value) => {
                record.values.insert(name.clone(), *value);
            }
            FeatureState::Stale(value) => {
                record.values.insert(name.clone(), *value);
                record.stale.push(name.clone());
            }
            FeatureState::Missing => record.missing.push(name.clone()),
            FeatureState::Unavailable => record.unavailable.push(name.clone()),
        }
    }
    record
}

impl From<&Score> for ScoreRecord {
    fn from(score: &Score) -> Self {
        Self {
            raw: score.raw,
            calibrated: score.calibrated,
            model: score.model.clone(),
            state: score.state,
            view: score.view,
        }
    }
}

impl From<&ScoreRecord> for Score {
    fn from(score: &ScoreRecord) -> Self {
        Self {
            raw: score.raw,
            calibrated: score.calibrated,
            model: score.model.clone(),
            state: score.state,
            view: score.view,
        }
    }
}
