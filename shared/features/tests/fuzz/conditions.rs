//! Any condition is refused in words or holds, does not, or is unavailable; it never panics and always ends.

use crate::{ends, evidence, material, schema};
use domain::condition::{Condition, Held};
use domain::{Evidence, FeatureState};
use std::time::Duration;

#[test]
fn fuzz_conditions() {
    let (schema, evidence) = (schema(), evidence());
    bolero::check!(name = "conditions")
        .with_test_time(Duration::from_secs(1))
        .for_each(|source| any_condition(source, &schema, &evidence));
}

#[test]
fn mutations_of_conditions() {
    let (schema, evidence, material) = (schema(), evidence(), material("conditions"));
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(120)
        .for_each(|recipe| any_condition(&material.mutated(recipe), &schema, &evidence));
}

fn any_condition(source: &[u8], schema: &domain::condition::Schema, evidence: &[Evidence]) {
    let source = String::from_utf8_lossy(source);
    match ends(|| Condition::compile(&source, schema)) {
        Err(refused) => assert!(!refused.to_string().is_empty()),
        Ok(condition) => ends(|| {
            for evidence in evidence {
                let held = condition.held(evidence);
                assert_eq!(held, condition.held(evidence));
                if let Held::Unavailable(names) = held {
                    let is_unavailable =
                        |name: &String| !matches!(evidence.features.get(name), Some(FeatureState::Missing));
                    assert!(names.iter().all(|name| schema.features.contains_key(name) && is_unavailable(name)));
                }
            }
        }),
    }
}
