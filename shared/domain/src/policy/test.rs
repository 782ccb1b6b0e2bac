//! Tests inside a policy file: evidence given, decision expected.

use super::{Decision, Policy};
use crate::{
    Availability, DecidedBy, Evidence, FeatureState, FeatureValue, Harm, Outcome, PostFacts, Revision, Score,
    ScoreState, Signal, VerdictBefore, View, consider, decide,
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// One case of the policy's own table.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// What the case shows.
    pub name: String,
    /// The evidence.
    #[serde(default)]
    pub given: Given,
    /// What has to follow.
    pub expect: Expected,
}

/// Evidence as a policy file writes it: what is not named is normal (no media, first revision, features missing).
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Given {
    /// Scores by harm: a number, `unavailable` or `skipped`.
    pub scores: BTreeMap<Harm, ScoreGiven>,
    /// Features by name: a value, `missing`, `unavailable`, or `{stale: value}`.
    pub features: BTreeMap<String, FeatureGiven>,
    /// Which version of the post; 1 unless said.
    pub revision: Option<Revision>,
    /// Facts of the post.
    pub post: PostGiven,
    /// `none`, `available` or `unavailable`.
    pub media: Availability,
    /// How many images are on the block list.
    pub blocked_media: u32,
    /// Signals by bank: how many entries were found, or `unavailable`. Of a bank that is not named nothing was found.
    pub signals: BTreeMap<String, SignalGiven>,
    /// `none`, `available` or `unavailable`.
    pub second_opinion: Availability,
    /// `no`, `yes` or `unavailable`; quoted, because YAML 1.1 readers take bare `no` for false.
    pub verdict_before: VerdictBefore,
}

/// Facts of the post as a policy file writes them: unlike those of a record, no name is unknown.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostGiven {
    /// As [`PostFacts::lang`].
    pub lang: String,
    /// As [`PostFacts::surface`].
    pub surface: String,
    /// As [`PostFacts::media_count`].
    pub media_count: u32,
    /// As [`PostFacts::is_reply`].
    pub is_reply: bool,
}

impl From<PostGiven> for PostFacts {
    fn from(given: PostGiven) -> Self {
        let PostGiven { lang, surface, media_count, is_reply } = given;
        Self { lang, surface, media_count, is_reply }
    }
}

/// A score as written in a policy file.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum ScoreGiven {
    /// A calibrated probability.
    Value(f64),
    /// `unavailable` or `skipped`.
    State(ScoreState),
}

/// A signal as written in a policy file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SignalGiven {
    /// So many entries were found.
    Found(u32),
    /// `unavailable`.
    State(SignalState),
}

/// What a policy file says of a signal that has no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalState {
    /// The bank could not be had.
    Unavailable,
}

/// A feature as written in a policy file.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum FeatureGiven {
    /// Present.
    Value(FeatureValue),
    /// `missing`, `unavailable`, or `{stale: value}`.
    State(FeatureState),
}

/// What a case expects; what is not named is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The decision.
    pub decision: Decision,
    /// Exactly these bands, rules and other reasons, in any order.
    pub reasons: Option<BTreeSet<String>>,
    /// The lane.
    pub lane: Option<String>,
    /// Who decided.
    pub decided_by: Option<DecidedBy>,
}

/// A case that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}`: expected {expected}, decided {decided}")]
pub struct TestFailure {
    /// Which case.
    pub name: String,
    /// What it wanted.
    pub expected: String,
    /// What came.
    pub decided: String,
}

impl Given {
    /// The evidence that is meant. Features of the policy's schema that are not named are missing.
    #[must_use]
    pub fn evidence(&self, policy: &Policy) -> Evidence {
        let mut features: BTreeMap<_, _> =
            policy.schema.features.keys().map(|name| (name.clone(), FeatureState::Missing)).collect();
        features.extend(self.features.iter().map(|(name, given)| {
            let state = match given {
                FeatureGiven::Value(value) => FeatureState::Present(*value),
                FeatureGiven::State(state) => *state,
            };
            (name.clone(), state)
        }));
        let scores = self.scores.iter().map(|(harm, given)| {
            let score = match given {
                ScoreGiven::Value(value) => Score {
                    raw: Some(*value),
                    calibrated: Some(*value),
                    model: "given".to_owned(),
                    state: ScoreState::Ok,
                    view: View::Text,
                },
                ScoreGiven::State(state) => Score { state: *state, ..Score::unavailable("given") },
            };
            (harm.clone(), score)
        });
        let mut signals: BTreeMap<_, _> =
            policy.signals().into_iter().map(|bank| (bank.to_owned(), Signal::default())).collect();
        signals.extend(self.signals.iter().map(|(bank, given)| {
            let signal = match given {
                SignalGiven::Found(found) => Signal { found: *found, partial: false },
                SignalGiven::State(SignalState::Unavailable) => Signal::UNAVAILABLE,
            };
            (bank.clone(), signal)
        }));
        Evidence {
            revision: self.revision.unwrap_or(Revision::FIRST),
            post: self.post.clone().into(),
            scores: scores.collect(),
            features,
            media: self.media,
            blocked_media: self.blocked_media,
            signals,
            verdict_before: self.verdict_before,
            second_opinion: self.second_opinion,
            ..Evidence::of(Revision::FIRST, PostFacts::default())
        }
    }
}

impl PolicyTest {
    fn run(&self, policy: &Policy) -> Result<(), TestFailure> {
        let unknown = self.given.features.keys().find(|name| !policy.schema.features.contains_key(*name));
        if let Some(name) = unknown {
            return Err(TestFailure {
                name: self.name.clone(),
                expected: format!(
                    "features by their bare names, of which there are {}",
                    policy.schema.features.keys().cloned().collect::<Vec<_>>().join(", ")
                ),
                decided: format!("nothing, since `{name}` does not exist"),
            });
        }
        let banks = policy.signals();
        if let Some(bank) = self.given.signals.keys().find(|bank| !banks.contains(bank.as_str())) {
            return Err(TestFailure {
                name: self.name.clone(),
                expected: "signals that a rule of the policy looks at".to_owned(),
                decided: format!("nothing, since no rule looks at `signal.{bank}`"),
            });
        }
        let judged = decide(policy, &self.given.evidence(policy));
        let reasons: BTreeSet<String> = judged.reasons.iter().map(|reason| reason.rule.clone()).collect();
        let same = judged.decision == self.expect.decision
            && self.expect.reasons.as_ref().is_none_or(|expected| *expected == reasons)
            && (self.expect.lane.is_none() || self.expect.lane == judged.lane)
            && self.expect.decided_by.is_none_or(|expected| expected == judged.decided_by);
        if same {
            return Ok(());
        }
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        Err(TestFailure {
            name: self.name.clone(),
            expected: format!(
                "{} [{}] {} {}",
                self.expect.decision,
                self.expect.reasons.as_ref().map_or("any reasons".to_owned(), list),
                self.expect.lane.as_deref().unwrap_or("any lane"),
                self.expect.decided_by.map_or("by anything", DecidedBy::as_str),
            ),
            decided: format!(
                "{} [{}] {} {}",
                judged.decision,
                list(&reasons),
                judged.lane.as_deref().unwrap_or("no lane"),
                judged.decided_by.as_str()
            ),
        })
    }
}

impl Policy {
    /// Runs the policy's own tests; those that fail, in the order of the file.
    #[must_use]
    pub fn failures(&self) -> Vec<TestFailure> {
        self.tests.iter().filter_map(|test| test.run(self).err()).collect()
    }
}

/// Bands and rules of the policy that no test of its own makes fire: nobody has said what they are for.
#[must_use]
pub fn uncovered(policy: &Policy) -> Vec<String> {
    let fired: BTreeSet<String> = policy
        .tests
        .iter()
        .flat_map(|test| consider(policy, &test.given.evidence(policy)))
        .filter(|considered| considered.outcome == Outcome::Fires)
        .map(|considered| considered.id)
        .collect();
    let bands = policy.bands.values().flatten().map(|band| &band.id);
    bands.chain(policy.rules.iter().map(|rule| &rule.id)).filter(|id| !fired.contains(*id)).cloned().collect()
}
