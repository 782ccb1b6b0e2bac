//! From a post to its decision record: the one path that the Lambda and the command share, without I/O or clock.

use crate::{Legible, Scored, TextModel};
use domain::policy::Decision;
use domain::{
    Availability, DecisionRecord, Evidence, Explanation, Policy, Post, PostFacts, Score, ScoreState, Setting,
    SignalRecord, Timestamp, VerdictBefore, View, decide,
};
use features::signals::{Banks, as_evidence};
use features::views::{Definitions, Lookup, RowKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that stays the same from post to post.
#[derive(Debug)]
pub struct Judge {
    /// Scores texts.
    pub model: Arc<TextModel>,
    /// Decides.
    pub policy: Policy,
    /// Says what features there are.
    pub definitions: Definitions,
    /// What operators have listed.
    pub banks: Banks,
    /// Parts of the service that were not to be had when this was built; they stand on every record.
    pub degraded: Vec<String>,
    /// `true` where nobody knows which policy is wanted: then nothing is approved and nothing is hidden.
    pub policy_assumed: bool,
}

/// A text of a post, as far as it could be read.
#[derive(Clone, PartialEq, Eq)]
pub enum Text {
    /// What it says.
    Known(String),
    /// It could not be read.
    Unavailable,
}

/// The texts of a post, each a view of its own; `object` is what stands behind its `text_ref`, where it has one.
#[must_use]
pub fn texts(post: &Post, object: Option<Text>) -> Vec<(View, Text)> {
    let own = post.texts().map(|(view, text)| (view, Text::Known(text.to_owned())));
    let unread = post.unread.iter().map(|view| (*view, Text::Unavailable));
    let mut texts: Vec<_> = own.chain(object.map(|text| (View::TextRef, text))).chain(unread).collect();
    // An empty text beside others says nothing.
    if texts.len() > 1 {
        texts.retain(|(_, text)| !matches!(text, Text::Known(text) if text.is_empty()));
    }
    texts
}

/// When the explanation is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explain {
    /// For what is not approved.
    AboveApprove,
    /// For everything.
    Always,
}

impl Explain {
    /// Runs of a transformer that an explanation may cost, as [`TextModel::explain`] counts them. Counted rather than timed, so that the
    /// same post is explained alike on any machine; more where the explanation was asked for.
    pub const fn runs(self) -> usize {
        match self {
            Self::AboveApprove => 6,
            Self::Always => 64,
        }
    }
}

/// A post with what was looked up about it.
pub struct Subject<'a> {
    /// The post.
    pub post: &'a Post,
    /// Its texts, as [`texts`] gives them.
    pub texts: &'a [(View, Text)],
    /// What the post was decided before on other content: this decision is not milder.
    pub conflict: Option<Decision>,
    /// Whether a person decided an earlier revision.
    pub verdict_before: VerdictBefore,
    /// When the event reached the queue.
    pub received_at: Timestamp,
    /// Now.
    pub decided_at: Timestamp,
    /// When to explain.
    pub explain: Explain,
}

/// The longest text that a second opinion is asked about, in bytes: a request to the endpoint takes some megabytes.
pub const MAX_QUESTION_TEXT_BYTES: usize = 256 * 1024;
/// The longest event that is sent on to be looked at again, in bytes of JSON: a message takes a mebibyte, envelope included.
pub const MAX_QUESTION_BYTES: usize = 768 * 1024;

/// What is too long for a message or a request is decided without: a person reads it. So is a post of several texts, for the sake of its
/// text: an opinion on one says nothing of the others.
fn can_be_asked_about(policy: &Policy, post: &Post, texts: &[(View, Text)]) -> bool {
    let media = policy.second_opinion.as_ref().is_some_and(|asked| asked.media) && !post.media.is_empty();
    (media || texts.len() <= 1)
        && !texts.iter().any(|(_, text)| matches!(text, Text::Known(text) if text.len() > MAX_QUESTION_TEXT_BYTES))
        && domain::json::ascii(&post.to_value().to_string()).len() <= MAX_QUESTION_BYTES
}

impl Judge {
    /// Scores and decides a post; `lookup` gives the feature rows that were found. Total: a model that fails is
    /// evidence that is unavailable.
    pub fn judge<'a>(&self, subject: &Subject<'_>, lookup: impl Fn(&RowKey) -> &'a Lookup) -> DecisionRecord {
        let Subject { post, texts, conflict, verdict_before, received_at, decided_at, explain } = *subject;
        let facts = PostFacts {
            lang: post.lang.clone().unwrap_or_default(),
            surface: post.surface.clone().unwrap_or_default(),
            media_count: u32::try_from(post.media.len()).unwrap_or(u32::MAX),
            is_reply: post.reply_to.is_some(),
        };
        let mut evidence = Evidence::of(post.revision, facts);
        let Read { score, scored, text, unread } = self.score(post, texts);
        evidence.scores.insert(self.model.harm().to_owned(), score);
        evidence.content_unread = !unread.is_empty();
        evidence.conflict = conflict;
        let mut signals = self.signals(post, texts, decided_at);
        evidence.signals = as_evidence(&signals);
        evidence.features = self.definitions.compute(post, received_at, lookup);
        // No model looks at media yet.
        evidence.media = if post.media.is_empty() { Availability::None } else { Availability::Unavailable };
        evidence.verdict_before = verdict_before;
        evidence.policy_assumed = self.policy_assumed;

        let mut judgement = decide(&self.policy, &evidence);
        let provisional =
            self.policy.wants_second_opinion(&evidence, &judgement) && can_be_asked_about(&self.policy, post, texts);
        judgement.degraded.extend(self.degraded.iter().chain(&post.notes).cloned());
        let explained =
            judgement.score.is_some() && (explain == Explain::Always || judgement.decision > Decision::Approve);
        let setting = Setting {
            model: self.model.identity().clone(),
            feature_set: self.definitions.set.clone(),
            feature_sha256: self.definitions.sha256.clone(),
            received_at,
            decided_at,
        };
        let who = (post.post_id.clone(), post.author_id.clone());
        let mut record = DecisionRecord::new(who, &evidence, &self.policy, judgement, setting);
        record.provisional = provisional;
        record.content.unread = unread;
        if explain == Explain::AboveApprove && record.decision == Decision::Approve {
            signals.values_mut().for_each(|signal| signal.matches.clear());
        }
        record.signals = signals;
        if explained
            && let Some(scored) = &scored
            && let Ok(explained) = self.model.explain(text, scored, explain.runs())
            && !explained.spans.is_empty()
        {
            record.explanation =
                Some(Explanation { method: explained.method.to_owned(), spans: explained.spans, regions: Vec::new() });
        }
        record
    }

    /// What stands of the banks in its texts. Its images are for whoever looks at them.
    fn signals(&self, post: &Post, texts: &[(View, Text)], now: Timestamp) -> BTreeMap<String, SignalRecord> {
        let mut search = self.banks.search(now);
        for (view, text) in texts {
            match text {
                Text::Known(text) => search.text(*view, text, None),
                Text::Unavailable => search.unread_text(),
            }
        }
        if !post.media.is_empty() {
            search.unseen_image();
        }
        search.done()
    }

    /// The highest score over all texts; of equals the first. A text that cannot be read makes the score of none of the others wrong: it
    /// is evidence of its own that is unavailable.
    fn score<'a>(&self, post: &Post, texts: &'a [(View, Text)]) -> Read<'a> {
        let identity = self.model.identity();
        let model = format!("{}@{}", identity.name, identity.version);
        // A language that the model has not learned counts as unavailable evidence.
        let learned = self.model.supports(post.lang.as_deref());
        let mut unread = Vec::new();
        let mut best: Option<(Scored, View, &str)> = None;
        for (view, text) in texts {
            let Text::Known(text) = text else {
                unread.push(view.to_string());
                continue;
            };
            let legible = if learned { self.model.reads(text) } else { Legible::No };
            if legible != Legible::No
                && let Ok(scored) = self.model.score(text)
            {
                // A sentence in another language says nothing to the model, and may say anything to people.
                if legible == Legible::Partly {
                    unread.push(view.to_string());
                }
                if best.as_ref().is_none_or(|(best, ..)| scored.calibrated > best.calibrated) {
                    best = Some((scored, *view, text));
                }
            } else if texts.len() > 1 {
                unread.push(view.to_string());
            }
        }
        let unavailable = Score::unavailable(model.clone());
        match best {
            Some((scored, view, text)) => {
                let (raw, calibrated) = (Some(scored.raw), Some(scored.calibrated));
                let score = Score { raw, calibrated, model, state: ScoreState::Ok, view };
                Read { score, scored: Some(scored), text, unread }
            }
            None if texts.is_empty() => {
                Read { score: Score { state: ScoreState::Skipped, ..unavailable }, scored: None, text: "", unread }
            }
            None => Read { score: unavailable, scored: None, text: "", unread },
        }
    }
}

/// What came of reading a post.
struct Read<'a> {
    /// The score as evidence.
    score: Score,
    /// The same as it came from the model, where one answered.
    scored: Option<Scored>,
    /// The text that it is of.
    text: &'a str,
    /// Views that could not be read.
    unread: Vec<String>,
}
