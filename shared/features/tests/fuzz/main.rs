//! Fuzzing what is pure: envelopes to posts; texts to tokens, windows and n-grams; policies and their conditions
//! against the bundled schema, which is why the targets of `domain` stand here.
//!
//! `cargo test` runs the corpora and a few seconds of mutations; `make fuzz` lets coverage guide them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and times itself"
)]

#[path = "../../../domain/tests/common/mutated.rs"]
mod mutated;

mod banks;
mod conditions;
mod envelopes;
mod policies;
mod sides;
mod texts;

use domain::condition::Schema;
use domain::{
    Availability, Evidence, FeatureState, FeatureValue, PostFacts, Revision, Score, ScoreState, VerdictBefore, View,
};
use features::views::Definitions;
use mutated::Material;
use std::time::{Duration, Instant};

/// Far more than any input may take, so that a loaded machine does not fail it.
const FAR_TOO_LONG: Duration = Duration::from_secs(5);

/// Does the work and holds it to an end.
fn ends<T>(work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    assert!(started.elapsed() < FAR_TOO_LONG, "took {:?}", started.elapsed());
    done
}

fn material(target: &str) -> Material {
    Material::of(env!("CARGO_MANIFEST_DIR"), target)
}

fn schema() -> Schema {
    Definitions::bundled().unwrap().schema()
}

/// Evidence of every kind: all of it missing, unavailable, at its ends, and of a type that no definition allows.
fn evidence() -> Vec<Evidence> {
    let values = [
        FeatureState::Missing,
        FeatureState::Unavailable,
        FeatureState::Present(FeatureValue::Int(0)),
        FeatureState::Present(FeatureValue::Int(i64::MIN)),
        FeatureState::Stale(FeatureValue::Int(i64::MAX)),
        FeatureState::Present(FeatureValue::Bool(true)),
        FeatureState::Present(FeatureValue::Float(f64::NAN)),
    ];
    let all = |state: FeatureState| schema().features.keys().map(|name| (name.clone(), state)).collect();
    let post = |lang: &str, media_count, is_reply| PostFacts {
        lang: lang.to_owned(),
        surface: "post".to_owned(),
        media_count,
        is_reply,
    };
    let facts = [post("", 0, false), post("en", u32::MAX, true)];
    let mut found: Vec<_> = values
        .into_iter()
        .flat_map(|state| facts.iter().map(move |facts| (state, facts.clone())))
        .map(|(state, facts)| Evidence { features: all(state), ..Evidence::of(Revision::FIRST, facts) })
        .collect();
    // Nobody looked for anything, and everything that can be bad about a post is.
    found.push(Evidence {
        media: Availability::Unavailable,
        verdict_before: VerdictBefore::Yes,
        ..Evidence::of(Revision::try_from((1 << 53) - 1).unwrap(), post("xx", 1, true))
    });
    found
}

fn scored(evidence: &Evidence, harm: &str, value: f64) -> Evidence {
    let score = Score {
        raw: Some(value),
        calibrated: Some(value),
        model: "m@1".to_owned(),
        state: ScoreState::Ok,
        view: View::Text,
    };
    let mut evidence = evidence.clone();
    evidence.scores.insert(harm.to_owned(), score);
    evidence
}
