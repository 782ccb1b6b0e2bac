//! Any file is a policy or is refused with a place; what is a policy decides everything, and never softens.

use crate::mutated::mutated;
use crate::{ends, evidence, schema, scored, seeds};
use domain::condition::Schema;
use domain::policy::{Decision, FALLBACK, PolicyError};
use domain::{Evidence, Policy, decide};
use std::time::Duration;

/// What policies are made of, and what YAML has besides.
const WORDS: &[&str] = &[
    "schema: policy/1\n",
    "leading_harm: hate\n",
    "review_lane: standard\n",
    "required: [score.hate, media, history, features.user]\n",
    "rules:\n",
    "tests:\n",
    "  - id: x\n",
    "when: user.prior_violations >= 3\n",
    "when: '",
    "at_least: { hate: 0.5 }\n",
    "decision: hide",
    "decision: review",
    "decision: approve",
    "lane: urgent",
    "if_unavailable: ignore\n",
    "from: 0.5",
    "from: .nan",
    "from: .inf",
    "from: -0.0",
    "from: 1e-320",
    "priority: 1",
    "due_minutes: 4294967295",
    "{ hate: unavailable }",
    "{ stale: 5 }",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!binary ",
    "!x ",
    "? ",
    "| \n",
    "> \n",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "[",
    "]",
    "{",
    "}",
    ":",
    "- ",
    "#",
    "\t",
    "\"",
    "'",
    "~",
    "null",
    "yes",
    "0x10",
    "1_000",
    "\u{feff}",
    "\u{2028}",
    "\r",
    "\0",
    "[[[[[[[[[[[[[[[[",
    "&a [*a,*a,*a,*a,*a,*a,*a,*a]",
    "{hate: {bands: [",
];

#[test]
fn fuzz_policies() {
    let (schema, evidence) = (schema(), evidence());
    bolero::check!(name = "policies")
        .with_test_time(Duration::from_secs(1))
        .for_each(|source| any_policy(source, &schema, &evidence));
}

#[test]
fn mutations_of_policies() {
    let (schema, evidence, mut seeds) = (schema(), evidence(), seeds("policies"));
    seeds.push(FALLBACK.as_bytes().to_vec());
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(60)
        .for_each(|recipe| any_policy(&mutated(recipe, &seeds, WORDS), &schema, &evidence));
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
