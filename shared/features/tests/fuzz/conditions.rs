//! Any condition is refused in words or holds, does not, or is unavailable; it never panics and always ends.

use crate::mutated::mutated;
use crate::{ends, evidence, schema, seeds};
use domain::condition::{Condition, Held};
use domain::{Evidence, FeatureState};
use std::time::Duration;

/// What conditions are made of, what CEL has besides, and numbers at their ends.
const WORDS: &[&str] = &[
    "user.prior_violations",
    "user.verified",
    "user.account_age_days",
    "post.reports",
    "post.lang",
    "post.surface",
    "post.media_count",
    "post.is_reply",
    "post.revision",
    "score.hate",
    "&&",
    "||",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<=",
    ">",
    " in ",
    "?",
    ":",
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "{",
    "}",
    "true",
    "false",
    "null",
    "0",
    "1",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616u",
    "1e308",
    "1e-400",
    "0.0",
    "0x7fffffffffffffff",
    "'en'",
    "\"\"",
    "'\\u00e9'",
    "'\\ud83d'",
    "r'\\'",
    "b'x'",
    "'''x",
    "size(",
    "double(",
    "int(",
    "string(",
    ".startsWith(",
    ".contains(",
    ".matches('(a+)+$')",
    "has(",
    ".all(x, ",
    ".exists(x, ",
    ".map(x, ",
    "duration('1h')",
    "timestamp('')",
    "type(",
    "dyn(",
    "// ",
    "\n",
    "\0",
    "\u{2028}",
    "é",
    "`",
    "optional.of(",
    "?.",
    "[?",
];

#[test]
fn fuzz_conditions() {
    let (schema, evidence) = (schema(), evidence());
    bolero::check!(name = "conditions")
        .with_test_time(Duration::from_secs(1))
        .for_each(|source| any_condition(source, &schema, &evidence));
}

#[test]
fn mutations_of_conditions() {
    let (schema, evidence, seeds) = (schema(), evidence(), seeds("conditions"));
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(120)
        .for_each(|recipe| any_condition(&mutated(recipe, &seeds, WORDS), &schema, &evidence));
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
