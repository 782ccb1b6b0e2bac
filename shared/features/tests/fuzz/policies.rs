//! Any file is a policy or is refused with a place; what is a policy decides everything, and never softens.

use crate::{ends, evidence, material, schema, scored};
use domain::condition::Schema;
use domain::policy::{Decision, FALLBACK, PolicyError};
use domain::{Evidence, Policy, decide};
use std::time::Duration;

#[test]
fn fuzz_policies() {
    let (schema, evidence) = (schema(), evidence());
    bolero::check!(name = "policies")
        .with_test_time(Duration::from_secs(1))
        .for_each(|source| any_policy(source, &schema, &evidence));
}

#[test]
fn mutations_of_policies() {
    let (schema, evidence, material) = (schema(), evidence(), material("policies").and(FALLBACK));
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(60)
        .for_each(|recipe| any_policy(&material.mutated(recipe), &schema, &evidence));
}

fn any_policy(source: &[u8], schema: &Schema, evidence: &[Evidence]) {
    let source = String::from_utf8_lossy(source);
    match ends(|| Policy::load_untested(&source, schema)) {
        Err(error) => names_a_place(&error),
        Ok(policy) => {
            // Its own tests run or fail in words.
            if let Err(error) = ends(|| Policy::load(&source, schema)) {
                names_a_place(&error);
            }
            ends(|| evidence.iter().for_each(|evidence| decides(&policy, evidence)));
        }
    }
}

fn names_a_place(error: &PolicyError) {
    let said = error.to_string();
    match error {
        // A line, or the field by its name; an empty file has neither.
        PolicyError::Shape(why) => {
            assert!(["line ", "`", "empty", "end of"].iter().any(|place| why.contains(place)), "{said}")
        }
        PolicyError::Invalid { place, problem } => assert!(!problem.is_empty() && said.contains(place.as_str())),
        PolicyError::Condition { rule, .. } => assert!(said.contains(rule.as_str())),
        PolicyError::Tests(failures) => assert!(!failures.is_empty()),
        PolicyError::TooLarge => {}
    }
}

/// Laws 4 and 5 under whatever policy it is.
fn decides(policy: &Policy, evidence: &Evidence) {
    let mut last = None;
    for value in [0.0, 0.199_999, 0.2, 0.5, 0.8, 1.0] {
        let judged = decide(policy, &scored(evidence, &policy.leading_harm, value));
        assert!(!judged.reasons.is_empty());
        assert_eq!(judged.lane.is_some(), judged.decision != Decision::Approve);
        let severity = judged.decision;
        let urgency = judged.lane.as_ref().map(|lane| policy.lanes[lane].priority);
        if let Some((softer, less_urgent)) = last {
            assert!(severity >= softer && urgency.unwrap_or(u8::MAX) <= less_urgent);
        }
        last = Some((severity, urgency.unwrap_or(u8::MAX)));
    }
    // No score at all.
    let judged = decide(policy, evidence);
    assert!(!judged.reasons.is_empty());
    assert_eq!(judged.lane.is_some(), judged.decision != Decision::Approve);
}
