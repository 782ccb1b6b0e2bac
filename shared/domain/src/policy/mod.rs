//! Policies: a versioned YAML file with bands, required evidence, lanes, rules and its own tests.
//!
//! A [`Policy`] exists only if everything in its file was checked, its conditions compiled and its tests passed, so
//! that [`crate::decide`] can be total. Bands have to harden as the score rises and rules can only add, which is how
//! law 5 (a higher score never softens) holds by construction.

mod document;
mod test;

use crate::condition::{Condition, ConditionError, Schema};
use crate::{Evidence, Harm, Judgement, VerdictBefore, sha256_hex};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub use test::{FeatureGiven, Given, PolicyTest, ScoreGiven, SignalGiven, SignalState, TestFailure, uncovered};

/// The policy compiled into every program: the default, and what holds when no other can be had.
pub const FALLBACK: &str = include_str!("../../policies/default.yaml");

/// The largest policy file taken, in bytes.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;

/// What is done with a post, from lenient to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It stays published.
    Approve,
    /// It stays published, and a person looks at it.
    Review,
    /// It is hidden at once, and a person looks at it.
    Hide,
}

impl Decision {
    /// The word that stands in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Review => "review",
            Self::Hide => "hide",
        }
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A queue for reviewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// 1 is the most urgent; no two lanes share one.
    pub priority: u8,
    /// Minutes from the decision until a person should have looked.
    pub due_minutes: u32,
}

/// What follows from a score between this band's lower bound, included, and the next one's.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// Stands in the reasons of a decision.
    pub id: String,
    /// The lower bound, 0 to 1, included.
    pub from: f64,
    /// What follows.
    pub decision: Decision,
    /// Who looks; `None` exactly for approve.
    pub lane: Option<String>,
}

/// A condition on other evidence than scores, and what follows from it.
#[derive(Debug)]
pub struct Rule {
    /// Stands in the reasons of a decision.
    pub id: String,
    /// The policy area it speaks for.
    pub harm: Harm,
    /// Why the rule exists, for people.
    pub reason: String,
    /// When it applies.
    pub when: Condition,
    /// The condition as written.
    pub source: String,
    /// Scores that must be reached as well: a lower bound, included, for each harm.
    pub at_least: BTreeMap<Harm, f64>,
    /// What follows: review or hide.
    pub decision: Decision,
    /// Who looks.
    pub lane: String,
    /// What follows when its evidence is unavailable.
    pub if_unavailable: IfUnavailable,
}

/// What follows when the evidence a rule needs is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfUnavailable {
    /// The post goes to review.
    #[default]
    Review,
    /// The rule is left out, and the record says so.
    Ignore,
}

/// Evidence without which nothing is approved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Required {
    /// The score of a harm: `score.hate`.
    Score(Harm),
    /// Attached media: `media`.
    Media,
    /// Whether a person decided an earlier revision: `history`.
    History,
    /// All features of a view: `features.user`.
    Features(String),
}

impl std::fmt::Display for Required {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Score(harm) => write!(f, "score.{harm}"),
            Self::Media => f.write_str("media"),
            Self::History => f.write_str("history"),
            Self::Features(view) => write!(f, "features.{view}"),
        }
    }
}

/// Who gives second opinions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adviser {
    /// The SageMaker endpoint.
    Endpoint,
    /// The function that asks, on its own processor.
    Lambda,
}

/// When a second opinion is asked for, of whom, and what it may cost.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondOpinion {
    /// Who gives it.
    pub by: Adviser,
    /// Ids of bands of the leading harm: posts whose score falls into one are looked at again.
    #[serde(default)]
    pub bands: BTreeSet<String>,
    /// Whether posts with media are looked at again, whatever their score.
    #[serde(default)]
    pub media: bool,
    /// After this many milliseconds whoever is asked counts as not answering.
    pub timeout_ms: u32,
    /// Seconds from the event's arrival until the last decision on it has to stand. A post for which that is too late is decided without.
    pub due_seconds: u32,
    /// What second opinions may cost a day (UTC), in US dollars; then posts are decided without.
    pub daily_budget_usd: f64,
    /// What an hour of whoever gives it costs, in US dollars: an answer costs its share of the time.
    pub usd_per_hour: f64,
}

/// A policy that was checked from end to end.
#[derive(Debug)]
pub struct Policy {
    /// Names the policy.
    pub id: String,
    /// Names this version of it.
    pub version: String,
    /// Digest of the file it was read from.
    pub sha256: String,
    /// The harm whose score is the decision's score.
    pub leading_harm: Harm,
    /// Bands for each harm, by rising lower bound, the first at 0.
    pub bands: BTreeMap<Harm, Vec<Band>>,
    /// Evidence without which nothing is approved.
    pub required: Vec<Required>,
    /// Lanes by name.
    pub lanes: BTreeMap<String, Lane>,
    /// The lane of reviews that no band or rule asked for: evidence missing, a revision after a verdict.
    pub review_lane: String,
    /// Rules, by id: their order in the file does not matter.
    pub rules: Vec<Rule>,
    /// When a second opinion is asked for; `None` for never.
    pub second_opinion: Option<SecondOpinion>,
    /// The tests of the file; all of them passed.
    pub tests: Vec<PolicyTest>,
    /// What its conditions were checked against.
    pub schema: Schema,
}

/// Why a policy was refused, naming the place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// More bytes than are taken.
    #[error("policy is larger than {MAX_POLICY_BYTES} bytes")]
    TooLarge,
    /// Not YAML, or not the shape of a policy.
    #[error("policy cannot be read: {0}")]
    Shape(String),
    /// Something in it contradicts something else.
    #[error("policy, at `{place}`: {problem}")]
    Invalid {
        /// Where.
        place: String,
        /// What, and what to do.
        problem: String,
    },
    /// A rule's condition.
    #[error("rule `{rule}`: its condition {error}")]
    Condition {
        /// Which rule.
        rule: String,
        /// What is wrong with it.
        error: ConditionError,
    },
    /// Tests inside the file that fail.
    #[error("{} of the policy's own tests failed: {}", .0.len(), .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Tests(Vec<TestFailure>),
}

impl Policy {
    /// Reads a policy file, checks it, compiles its conditions against `schema` and runs its tests.
    ///
    /// # Errors
    /// The first thing that is wrong with it, or all tests that fail.
    pub fn load(source: &str, schema: &Schema) -> Result<Self, PolicyError> {
        let policy = Self::load_untested(source, schema)?;
        let failures = policy.failures();
        if failures.is_empty() { Ok(policy) } else { Err(PolicyError::Tests(failures)) }
    }

    /// As [`Policy::load`], without running its tests: for the command that shows which of them fail.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load_untested(source: &str, schema: &Schema) -> Result<Self, PolicyError> {
        if source.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLarge);
        }
        document::read(source)?.check(sha256_hex(source.as_bytes()), schema)
    }

    /// The compiled-in policy.
    ///
    /// # Errors
    /// Only where `schema` lacks a feature that it looks at.
    pub fn fallback(schema: &Schema) -> Result<Self, PolicyError> {
        Self::load(FALLBACK, schema)
    }

    /// The band that `score` falls into for `harm`.
    #[must_use]
    pub fn band(&self, harm: &str, score: f64) -> Option<&Band> {
        self.bands.get(harm)?.iter().rev().find(|band| score >= band.from)
    }

    /// The banks whose signals its rules look at.
    #[must_use]
    pub fn signals(&self) -> BTreeSet<&str> {
        self.rules.iter().flat_map(|rule| rule.when.signals()).collect()
    }

    /// Whether a second opinion is to be asked for before this judgement is final. What is hidden already, and what goes to a person
    /// because a person decided on it before, needs none.
    #[must_use]
    pub fn wants_second_opinion(&self, evidence: &Evidence, judgement: &Judgement) -> bool {
        let Some(asked) = &self.second_opinion else { return false };
        let band = judgement.score.and_then(|score| self.band(&self.leading_harm, score));
        judgement.decision != Decision::Hide
            && evidence.verdict_before == VerdictBefore::No
            && (band.is_some_and(|band| asked.bands.contains(&band.id)) || asked.media && evidence.post.media_count > 0)
    }
}
