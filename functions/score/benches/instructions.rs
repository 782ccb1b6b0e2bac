//! Instructions of the steps that a post goes through, counted by callgrind: the same on a busy machine as on an idle
//! one. `make bench` runs it where valgrind and gungraun's runner are (`make bench-tools`).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::allow_attributes_without_reason,
    reason = "a benchmark may fail loudly; the macros write attributes of their own"
)]

use domain::{Evidence, Policy, PostFacts, Revision, Score, ScoreState, decide};
use features::text::{NgramSpec, tokenise, weighted_buckets};
use features::views::Definitions;
use gungraun::prelude::*;
use runtime::{BatchResponse, SqsBatch};
use serde_json::value::RawValue;
use std::hint::black_box;

const POST: &str =
    "You people are ruining this city and everybody knows it, @somebody said so at https://example.org/a today.";

fn body() -> String {
    serde_json::json!({
        "post_id": "6f9619ff-8b86-d011-b42d-00cf4fc96401", "revision": 1, "author_id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "created_at": "2026-11-23T09:59:58Z", "text": POST, "lang": "en", "surface": "post", "media": [], "text_ref": null,
        "context": { "reply_to": null },
    })
    .to_string()
}

fn event() -> Box<RawValue> {
    let message = |number: usize| {
        serde_json::json!({
            "messageId": format!("059f36b4-87a3-44ab-83d2-66197502{number:04}"), "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
            "body": body(), "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1795428000000" },
            "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        })
    };
    let records: Vec<_> = (0..10).map(message).collect();
    RawValue::from_string(serde_json::json!({ "Records": records }).to_string()).unwrap()
}

fn judged() -> (Policy, Evidence) {
    let policy = Policy::fallback(&Definitions::bundled().unwrap().schema()).unwrap();
    let mut evidence = Evidence::of(Revision::FIRST, PostFacts::default());
    let score = Score {
        raw: Some(0.3),
        calibrated: Some(0.25),
        model: "m@1".to_owned(),
        state: ScoreState::Ok,
        view: domain::View::Text,
    };
    evidence.scores.insert("hate".to_owned(), score);
    let post = domain::Post::parse(body().as_bytes()).unwrap();
    let received_at = domain::Timestamp::from_millis(1_795_428_000_000);
    let missing = features::views::Lookup::Missing;
    evidence.features = Definitions::bundled().unwrap().compute(&post, received_at, |_| &missing);
    // What is built on first use is no part of a decision.
    let _ = decide(&policy, &evidence);
    (policy, evidence)
}

#[library_benchmark]
fn features_of_a_tweet() {
    let spec = NgramSpec { bits: 19, word_max: 2, char_min: 2, char_max: 5, word_weight: 1.0, char_weight: 1.0 };
    let tokenised = tokenise(black_box(POST));
    let window = 0..tokenised.tokens().len();
    black_box(weighted_buckets(&tokenised, window, &spec));
}

#[library_benchmark]
#[bench::one(judged())]
fn decide_a_post(judged: (Policy, Evidence)) -> (Policy, Evidence) {
    black_box(decide(&judged.0, &judged.1));
    judged
}

#[library_benchmark]
#[bench::native(body())]
fn read_a_message(body: String) -> String {
    black_box(score::intake::read(body.as_bytes()).is_ok());
    body
}

#[library_benchmark]
#[bench::ten(event())]
fn parse_a_batch(event: Box<RawValue>) -> SqsBatch {
    black_box(SqsBatch::parse(&event).unwrap())
}

#[library_benchmark]
#[bench::ten(SqsBatch::parse(&event()).unwrap())]
fn answer_a_batch(batch: SqsBatch) -> String {
    serde_json::to_string(&BatchResponse::deliver_again(black_box(&batch.messages))).unwrap()
}

library_benchmark_group!(
    name = steps,
    benchmarks = [features_of_a_tweet, decide_a_post, read_a_message, parse_a_batch, answer_a_batch]
);
main!(library_benchmark_groups = steps);
