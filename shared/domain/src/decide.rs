//! The judgement: a pure, total function of a policy and the evidence.

use crate::condition::Held;
use crate::policy::{Decision, IfUnavailable, Policy, Required};
use crate::{Availability, Evidence, FeatureState, Harm, ScoreState, VerdictBefore};
use serde::{Deserialize, Serialize};

/// Who a decision goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// A band on a model's score.
    Model,
    /// A rule, where no band was as severe.
    Rule,
    /// Evidence that was not to be had.
    Fallback,
    /// A person.
    Human,
}

impl DecidedBy {
    /// The word that stands in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Rule => "rule",
            Self::Fallback => "fallback",
            Self::Human => "human",
        }
    }
}

/// One reason of a decision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// The band or rule; `unavailable:WHAT` for evidence that was not to be had.
    pub rule: String,
    /// The policy area.
    pub harm: Harm,
}

/// What came of one band, rule or requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It applies.
    Fires,
    /// It does not.
    Silent,
    /// It would need evidence that is unavailable, and is left out.
    Ignored,
}

/// One thing that was looked at on the way to a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// The band, rule or requirement.
    pub id: String,
    /// The policy area.
    pub harm: Harm,
    /// What came of it.
    pub outcome: Outcome,
    /// What it asks for when it applies.
    pub decision: Decision,
    /// Who should look when it applies.
    pub lane: Option<String>,
    /// What it goes back to.
    pub source: DecidedBy,
}

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What is done with the post.
    pub decision: Decision,
    /// Calibrated probability of the policy's leading harm; `None` where no model answered.
    pub score: Option<f64>,
    /// Who it goes back to.
    pub decided_by: DecidedBy,
    /// Everything that asked for more than approval, or the bands that allow it; sorted, without repeats.
    pub reasons: Vec<Reason>,
    /// The most urgent lane that was asked for; `None` exactly for approve.
    pub lane: Option<String>,
    /// Evidence that was not to be had, by name; sorted.
    pub degraded: Vec<String>,
}

/// Decides. Total: any evidence under any checked policy gives a decision and its reasons.
///
/// The most severe of what bands, rules and missing evidence ask for, in the most urgent lane that any of them asks
/// for. Nothing is taken back by anything else, so order cannot matter and more evidence cannot soften. Where the
/// leading model failed, nothing is hidden (law 4).
#[must_use]
pub fn decide(policy: &Policy, evidence: &Evidence) -> Judgement {
    let fired: Vec<Considered> =
        consider(policy, evidence).into_iter().filter(|considered| considered.outcome == Outcome::Fires).collect();
    let score = evidence.scores.get(&policy.leading_harm).and_then(crate::Score::value);
    let decision = fired.iter().map(|considered| considered.decision).max().unwrap_or(Decision::Review);
    let by = |source| fired.iter().any(|considered| considered.decision == decision && considered.source == source);
    let decided_by = [DecidedBy::Model, DecidedBy::Rule].into_iter().find(|source| by(*source));
    let mut reasons: Vec<Reason> = fired
        .iter()
        .filter(|considered| decision == Decision::Approve || considered.decision > Decision::Approve)
        .map(|considered| Reason { rule: considered.id.clone(), harm: considered.harm.clone() })
        .collect();
    reasons.sort();
    reasons.dedup();
    let lane = fired
        .iter()
        .filter_map(|considered| considered.lane.as_ref())
        .min_by_key(|lane| policy.lanes.get(*lane).map(|lane| lane.priority))
        .cloned();
    Judgement {
        decision,
        score,
        decided_by: decided_by.unwrap_or(DecidedBy::Fallback),
        reasons,
        lane,
        degraded: degraded(policy, evidence),
    }
}

/// Everything that [`decide`] looks at, with what came of it: what `moderato policy explain` prints.
#[must_use]
pub fn consider(policy: &Policy, evidence: &Evidence) -> Vec<Considered> {
    let mut considered: Vec<Considered> = Vec::new();
    considered.extend(bands(policy, evidence));
    considered.extend(rules(policy, evidence));
    considered.extend(policy.required.iter().map(|required| {
        let harm = if let Required::Score(harm) = required { harm } else { &policy.leading_harm };
        asked_for_by_absence(policy, format!("unavailable:{required}"), harm, !is_available(policy, evidence, required))
    }));
    let revised = evidence.verdict_before == VerdictBefore::Yes;
    considered.push(Considered {
        source: DecidedBy::Rule,
        ..asked_for_by_absence(policy, "revised-after-verdict".to_owned(), &policy.leading_harm, revised)
    });
    if evidence.content_unread {
        considered.push(asked_for_by_absence(policy, "unavailable:content".to_owned(), &policy.leading_harm, true));
    }
    if evidence.policy_assumed {
        considered.push(asked_for_by_absence(policy, "unavailable:policy".to_owned(), &policy.leading_harm, true));
    }
    let without = evidence.second_opinion == Availability::Unavailable;
    if policy.second_opinion.is_some() || without {
        considered.push(asked_for_by_absence(
            policy,
            "unavailable:second_opinion".to_owned(),
            &policy.leading_harm,
            without,
        ));
    }
    if without || evidence.policy_assumed {
        // What was to be looked at again and was not is never removed: no outage hides a post. Neither does a policy that nobody asked for.
        for one in &mut considered {
            one.decision = one.decision.min(Decision::Review);
        }
    }
    // After the bounds above: what is hidden stays hidden until a person has looked at the other content.
    if let Some(before) = evidence.conflict {
        considered.push(Considered {
            decision: before.max(Decision::Review),
            source: DecidedBy::Rule,
            ..asked_for_by_absence(policy, "content-conflict".to_owned(), &policy.leading_harm, true)
        });
    }
    if !considered.iter().any(|one| one.outcome == Outcome::Fires) {
        // No band fired because no model answered, and the policy requires nothing: still nobody may approve.
        considered.push(asked_for_by_absence(policy, "nothing-judged".to_owned(), &policy.leading_harm, true));
    }
    considered
}

fn bands<'a>(policy: &'a Policy, evidence: &'a Evidence) -> impl Iterator<Item = Considered> + 'a {
    policy.bands.iter().flat_map(|(harm, bands)| {
        let value = evidence.scores.get(harm).and_then(crate::Score::value);
        let hit = value.and_then(|value| policy.band(harm, value));
        bands.iter().map(move |band| Considered {
            id: band.id.clone(),
            harm: harm.clone(),
            outcome: if hit == Some(band) { Outcome::Fires } else { Outcome::Silent },
            decision: band.decision,
            lane: band.lane.clone(),
            source: DecidedBy::Model,
        })
    })
}

fn rules<'a>(policy: &'a Policy, evidence: &'a Evidence) -> impl Iterator<Item = Considered> + 'a {
    // Nothing to read is no failure: a picture without words may be hidden for what it is.
    let leading_failed = evidence
        .scores
        .get(&policy.leading_harm)
        .is_none_or(|score| score.state != ScoreState::Skipped && score.value().is_none());
    policy.rules.iter().map(move |rule| {
        let reached = rule.at_least.iter().try_fold(true, |reached, (harm, bound)| {
            let score = evidence.scores.get(harm)?;
            match score.state {
                ScoreState::Skipped => Some(false),
                _ => score.value().map(|value| reached && value >= *bound),
            }
        });
        let held = match reached {
            Some(false) => Held::No,
            Some(true) => rule.when.held(evidence),
            // A condition that does not hold settles it without the score.
            None => match rule.when.held(evidence) {
                Held::No => Held::No,
                _ => Held::Unavailable(Vec::new()),
            },
        };
        let considered = |id: String, outcome, decision, source| Considered {
            id,
            harm: rule.harm.clone(),
            outcome,
            decision,
            lane: Some(rule.lane.clone()),
            source,
        };
        match (held, rule.if_unavailable) {
            (Held::No, _) => considered(rule.id.clone(), Outcome::Silent, rule.decision, DecidedBy::Rule),
            (Held::Yes, _) => {
                // Law 4: on other evidence than a model that failed, at most review.
                let decision = if leading_failed { rule.decision.min(Decision::Review) } else { rule.decision };
                considered(rule.id.clone(), Outcome::Fires, decision, DecidedBy::Rule)
            }
            (Held::Unavailable(_), IfUnavailable::Ignore) => {
                considered(rule.id.clone(), Outcome::Ignored, rule.decision, DecidedBy::Rule)
            }
            (Held::Unavailable(_), IfUnavailable::Review) => Considered {
                lane: Some(policy.review_lane.clone()),
                ..considered(format!("unavailable:{}", rule.id), Outcome::Fires, Decision::Review, DecidedBy::Fallback)
            },
        }
    })
}

fn asked_for_by_absence(policy: &Policy, id: String, harm: &str, absent: bool) -> Considered {
    Considered {
        id,
        harm: harm.to_owned(),
        outcome: if absent { Outcome::Fires } else { Outcome::Silent },
        decision: Decision::Review,
        lane: Some(policy.review_lane.clone()),
        source: DecidedBy::Fallback,
    }
}

fn is_available(policy: &Policy, evidence: &Evidence, required: &Required) -> bool {
    match required {
        Required::Score(harm) => {
            evidence.scores.get(harm).is_some_and(|score| score.state == ScoreState::Skipped || score.value().is_some())
        }
        Required::Media => evidence.media != Availability::Unavailable,
        Required::History => evidence.verdict_before != VerdictBefore::Unavailable,
        Required::Features(view) => policy
            .schema
            .features
            .iter()
            .filter(|(_, feature)| feature.view == *view)
            .all(|(name, _)| !matches!(evidence.features.get(name), None | Some(FeatureState::Unavailable))),
    }
}

/// Names of evidence that was not to be had, whether the policy requires it or not.
fn degraded(policy: &Policy, evidence: &Evidence) -> Vec<String> {
    // A harm that no model was asked about, such as one that is only seen in images, is no loss.
    let asked = |harm: &&Harm| **harm == policy.leading_harm || evidence.scores.contains_key(*harm);
    let scores = policy.bands.keys().filter(asked).map(|harm| Required::Score(harm.clone()));
    let views: std::collections::BTreeSet<_> =
        policy.schema.features.values().map(|feature| feature.view.clone()).collect();
    let mut names: Vec<String> = scores
        .chain([Required::Media, Required::History])
        .chain(views.into_iter().map(Required::Features))
        .filter(|required| !is_available(policy, evidence, required))
        .map(|required| required.to_string())
        .collect();
    if evidence.second_opinion == Availability::Unavailable {
        names.push("second_opinion".to_owned());
    }
    if evidence.content_unread {
        names.push("content".to_owned());
    }
    if evidence.policy_assumed {
        names.push("policy".to_owned());
    }
    names.sort();
    names
}
