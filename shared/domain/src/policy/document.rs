//! The file as it is written, and the checks that make it a [`Policy`].

use super::{
    Adviser, Band, Decision, IfUnavailable, Lane, Policy, PolicyError, PolicyTest, Required, Rule, SecondOpinion,
};
use crate::condition::{Condition, Schema};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The schema name that a policy file has to carry.
const SCHEMA: &str = "policy/1";

/// The most rules times tests taken. A function runs them all when it starts, and a rule takes 4 to 60 microseconds: three
/// seconds at the very worst, where a file of the largest size could take twelve.
const MAX_RULES_TESTED: usize = 50_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    schema: String,
    id: String,
    version: String,
    #[serde(default)]
    #[expect(dead_code, reason = "for the readers of the file")]
    description: String,
    leading_harm: String,
    harms: BTreeMap<String, HarmDocument>,
    #[serde(default)]
    required: Vec<String>,
    lanes: BTreeMap<String, Lane>,
    review_lane: String,
    #[serde(default)]
    rules: Vec<RuleDocument>,
    second_opinion: Option<SecondOpinion>,
    #[serde(default)]
    tests: Vec<PolicyTest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HarmDocument {
    bands: Vec<BandDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BandDocument {
    id: String,
    from: f64,
    decision: Decision,
    lane: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleDocument {
    id: String,
    harm: String,
    reason: String,
    when: String,
    #[serde(default)]
    at_least: BTreeMap<String, f64>,
    decision: Decision,
    lane: String,
    #[serde(default)]
    if_unavailable: IfUnavailable,
}

pub(super) fn read(source: &str) -> Result<Document, PolicyError> {
    serde_saphyr::from_str(source).map_err(|error| PolicyError::Shape(error.to_string()))
}

fn invalid(place: &str, problem: impl Into<String>) -> PolicyError {
    PolicyError::Invalid { place: place.to_owned(), problem: problem.into() }
}

/// Ids stand on records and in message attributes, so they are short and plain.
fn plain(place: &str, id: &str) -> Result<(), PolicyError> {
    let fine = (1..=48).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if fine { Ok(()) } else { Err(invalid(place, format!("`{id}` must be 1 to 48 letters, digits, `-`, `_` or `.`"))) }
}

impl Document {
    pub(super) fn check(self, sha256: String, schema: &Schema) -> Result<Policy, PolicyError> {
        if self.schema != SCHEMA {
            return Err(invalid("schema", format!("is `{}`; this program reads `{SCHEMA}`", self.schema)));
        }
        if self.rules.len() * self.tests.len() > MAX_RULES_TESTED {
            return Err(invalid("tests", format!("rules times tests must be {MAX_RULES_TESTED} at most")));
        }
        plain("id", &self.id)?;
        plain("version", &self.version)?;
        if !self.harms.contains_key(&self.leading_harm) {
            return Err(invalid("leading_harm", format!("`{}` has no bands under `harms`", self.leading_harm)));
        }
        let lanes = self.lanes;
        let mut priorities = BTreeSet::new();
        for (name, lane) in &lanes {
            plain("lanes", name)?;
            if lane.priority == 0 || lane.due_minutes == 0 || !priorities.insert(lane.priority) {
                return Err(invalid(name, "a lane needs a `priority` of its own from 1 and `due_minutes` from 1"));
            }
        }
        let known_lane = |place: &str, lane: &str| {
            lanes.get(lane).copied().ok_or_else(|| invalid(place, format!("lane `{lane}` is not under `lanes`")))
        };
        known_lane("review_lane", &self.review_lane)?;

        let mut ids = BTreeSet::new();
        let mut bands = BTreeMap::new();
        for (harm, document) in self.harms {
            plain("harms", &harm)?;
            let checked = check_bands(&harm, document.bands, &known_lane)?;
            for band in &checked {
                plain(&harm, &band.id)?;
                if !ids.insert(band.id.clone()) {
                    return Err(invalid(&band.id, "is the id of two bands or rules; give each its own"));
                }
            }
            bands.insert(harm, checked);
        }

        let mut rules = Vec::new();
        for rule in self.rules {
            plain("rules", &rule.id)?;
            if !ids.insert(rule.id.clone()) {
                return Err(invalid(&rule.id, "is the id of two bands or rules; give each its own"));
            }
            known_lane(&rule.id, &rule.lane)?;
            if rule.decision == Decision::Approve {
                return Err(invalid(&rule.id, "a rule can only add; its decision must be `review` or `hide`"));
            }
            for (harm, bound) in rule.at_least.iter() {
                if !bands.contains_key(harm) || !(0.0..=1.0).contains(bound) {
                    return Err(invalid(&rule.id, "`at_least` takes a harm with bands and a score from 0 to 1"));
                }
            }
            if !bands.contains_key(&rule.harm) {
                return Err(invalid(&rule.id, format!("harm `{}` is not under `harms`", rule.harm)));
            }
            let when = Condition::compile(&rule.when, schema)
                .map_err(|error| PolicyError::Condition { rule: rule.id.clone(), error })?;
            rules.push(Rule {
                id: rule.id,
                harm: rule.harm,
                reason: rule.reason,
                when,
                source: rule.when,
                at_least: rule.at_least,
                decision: rule.decision,
                lane: rule.lane,
                if_unavailable: rule.if_unavailable,
            });
        }
        rules.sort_by(|left, right| left.id.cmp(&right.id));

        let required = self
            .required
            .iter()
            .map(|name| required(name, &bands, schema))
            .collect::<Result<BTreeSet<_>, _>>()?
            .into_iter()
            .collect();
        if let Some(asked) = &self.second_opinion {
            check_second_opinion(asked, bands.get(&self.leading_harm))?;
        }
        Ok(Policy {
            id: self.id,
            version: self.version,
            sha256,
            leading_harm: self.leading_harm,
            bands,
            required,
            lanes,
            review_lane: self.review_lane,
            rules,
            second_opinion: self.second_opinion,
            tests: self.tests,
            schema: schema.clone(),
        })
    }
}

/// A Lambda of the most memory there is, 10,240 MB, costs 0.60 US dollars an hour.
const MOST_LAMBDA_HOUR: f64 = 0.61;

/// A second opinion that could never come in time, or cost nothing whatever it does, is a mistake in the file.
fn check_second_opinion(asked: &SecondOpinion, bands: Option<&Vec<Band>>) -> Result<(), PolicyError> {
    const PLACE: &str = "second_opinion";
    for id in &asked.bands {
        match bands.into_iter().flatten().find(|band| band.id == *id) {
            None => return Err(invalid(PLACE, format!("`{id}` is no band of the leading harm"))),
            Some(band) if band.decision == Decision::Hide => {
                return Err(invalid(
                    PLACE,
                    format!("`{id}` hides at once; only what is not hidden is looked at again"),
                ));
            }
            Some(_) => {}
        }
    }
    if asked.bands.is_empty() && !asked.media {
        return Err(invalid(PLACE, "asks for nothing: name `bands`, or set `media: true`, or leave the section out"));
    }
    if !(50..=30_000).contains(&asked.timeout_ms)
        || u64::from(asked.due_seconds) * 1_000 < 2 * u64::from(asked.timeout_ms)
    {
        return Err(invalid(PLACE, "`timeout_ms` must be 50 to 30000, and `due_seconds` at least twice as long"));
    }
    if asked.by == Adviser::Lambda && asked.usd_per_hour > MOST_LAMBDA_HOUR {
        return Err(invalid(PLACE, "`usd_per_hour` is no Lambda's: one of 1,769 MB costs 0.104 US dollars"));
    }
    let finite = asked.usd_per_hour.is_finite() && asked.daily_budget_usd.is_finite();
    if !finite || asked.usd_per_hour <= 0.0 || asked.daily_budget_usd < 0.0 {
        return Err(invalid(
            PLACE,
            "`usd_per_hour` must be more than 0 and `daily_budget_usd` at least 0, in US dollars",
        ));
    }
    Ok(())
}

fn required(name: &str, bands: &BTreeMap<String, Vec<Band>>, schema: &Schema) -> Result<Required, PolicyError> {
    match name.split_once('.') {
        Some(("score", harm)) if bands.contains_key(harm) => Ok(Required::Score(harm.to_owned())),
        Some(("features", view)) if schema.features.values().any(|feature| feature.view == view) => {
            Ok(Required::Features(view.to_owned()))
        }
        None if name == "media" => Ok(Required::Media),
        None if name == "history" => Ok(Required::History),
        _ => Err(invalid(
            "required",
            format!("`{name}` is not evidence; there are `score.HARM`, `features.VIEW`, `media`, `history`"),
        )),
    }
}

// INVARIANT: as the lower bounds rise, neither the decision nor the urgency of the lane goes back (law 5).
fn check_bands(
    harm: &str,
    documents: Vec<BandDocument>,
    known_lane: &impl Fn(&str, &str) -> Result<Lane, PolicyError>,
) -> Result<Vec<Band>, PolicyError> {
    let mut bands: Vec<Band> = Vec::new();
    let mut urgency: Option<u8> = None;
    for document in documents {
        let BandDocument { id, from, decision, lane } = document;
        match bands.last() {
            None if from != 0.0 => return Err(invalid(&id, "the first band must begin at 0")),
            Some(before) if !(from > before.from && from <= 1.0) => {
                return Err(invalid(&id, "bands must stand by rising `from`, up to 1"));
            }
            Some(before) if decision < before.decision => {
                return Err(invalid(
                    &id,
                    format!("is softer than `{}` below it; a higher score never softens", before.id),
                ));
            }
            _ => {}
        }
        match (&lane, decision) {
            (None, Decision::Approve) => {}
            (Some(lane), Decision::Review | Decision::Hide) => {
                let priority = known_lane(&id, lane)?.priority;
                if urgency.is_some_and(|before| priority > before) {
                    return Err(invalid(&id, "its lane is less urgent than that of a band below it"));
                }
                urgency = Some(priority);
            }
            (Some(_), Decision::Approve) => return Err(invalid(&id, "`approve` has no lane")),
            (None, _) => return Err(invalid(&id, "`review` and `hide` need a `lane`")),
        }
        bands.push(Band { id, from, decision, lane });
    }
    if bands.is_empty() {
        return Err(invalid(harm, "has no bands; give at least one, from 0"));
    }
    Ok(bands)
}
