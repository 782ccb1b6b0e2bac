//! The schemas of what people and platforms write (posts, policies) refuse what the code refuses, and list the fields
//! that the code reads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

#[path = "common/mod.rs"]
mod common;
#[path = "common/schemas.rs"]
mod schemas;

use common::schema;
use domain::{Media, Policy, PolicyError, Post};
use proptest::prelude::*;
use schemas::{JsonSchema, Refused, Refused::*, expected_in, set};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Whether a post is refused, or something in it is noted as wrong.
fn post_refused(document: &Value) -> bool {
    Post::parse(document.to_string().as_bytes()).map_or(true, |post| !post.notes.is_empty())
}

fn full_post() -> Value {
    json!({
        "post_id": "p-1", "revision": 2, "author_id": "u-1", "created_at": "2026-11-23T10:00:00Z", "text": "hello",
        "text_ref": "s3://bucket/key", "title": "t", "spoiler_text": "s", "display_name": "d", "lang": "en", "surface": "post",
        "media": [{"uri": "s3://bucket/key", "type": "image/png", "alt": "a", "etag": "e"}], "context": {"reply_to": "p-0"},
    })
}

/// The names as the event writes them. Stops compiling when a post gets another field.
fn fields_of_the_code(post: Post) -> BTreeSet<String> {
    let Post {
        post_id: _,
        revision: _,
        revision_given: _,
        author_id: _,
        created_at: _,
        text: _,
        text_ref: _,
        title: _,
        spoiler_text: _,
        display_name: _,
        lang: _,
        surface: _,
        media,
        reply_to: _,
        unread: _,
        notes: _,
    } = post;
    let Media { uri: _, kind: _, alt: _, etag: _ } = &media[0];
    set(&[
        "post_id",
        "revision",
        "author_id",
        "created_at",
        "text",
        "text_ref",
        "title",
        "spoiler_text",
        "display_name",
        "lang",
        "surface",
        "media",
        "media[].uri",
        "media[].type",
        "media[].alt",
        "media[].etag",
        "context",
        "context.reply_to",
    ])
}

#[test]
fn posts_and_their_schema_have_the_same_fields() {
    let post = JsonSchema::read("post");
    post.accept(&full_post());
    let read = Post::parse(full_post().to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(fields_of_the_code(read), post.names());
    assert_eq!(post.names_in(&full_post()), post.names());
    post.pointers(&full_post(), "", &mut |pointer| {
        let wrong = JsonSchema::mutated(&full_post(), pointer, Some(&json!(true)));
        assert!(post.refuses(&wrong) && post_refused(&wrong), "{pointer} is not read, or not described");
    });
}

#[test]
fn posts_are_accepted_and_refused_alike() {
    let post = JsonSchema::read("post");
    let long = "x".repeat(36);
    let table: &[(Value, Refused)] = &[
        (json!({"post_id": "p", "text": "t"}), ByNobody),
        (json!({"post_id": "p", "text": ""}), ByNobody),
        (json!({"post_id": "p", "text": "\u{0}\u{7}\u{202e}"}), ByNobody),
        (json!({"post_id": "p", "text_ref": "s3://bucket/key"}), ByNobody),
        (json!({"post_id": "p", "media": [{"uri": "s3://bucket/key"}]}), ByNobody),
        (json!({"post_id": "p", "text": null, "media": [{"uri": "u", "type": null}]}), ByNobody),
        (json!({"post_id": "p", "text": "t", "mood": "cheerful", "nested": {"a": [null]}}), ByNobody),
        (json!({"post_id": "p", "text": "t", "context": {"mood": 1}, "media": [{"uri": "u", "mood": 1}]}), ByNobody),
        (
            json!({"post_id": "p", "text": "t", "revision": null, "author_id": null, "created_at": null, "text_ref": null,
                   "lang": null, "surface": null, "media": null, "context": null}),
            ByNobody,
        ),
        (json!([]), ByBoth),
        (json!("post"), ByBoth),
        (json!(null), ByBoth),
        (json!({}), ByBoth),
        (json!({"text": "t"}), ByBoth),
        (json!({"post_id": null, "text": "t"}), ByBoth),
        (json!({"post_id": 17, "text": "t"}), ByNobody),
        (json!({"post_id": 1.5, "text": "t"}), ByBoth),
        (json!({"post_id": true, "text": "t"}), ByBoth),
        (json!({"post_id": "a\u{fffe}", "text": "t"}), ByBoth),
        (json!({"post_id": "a\u{fffd}", "text": "t"}), ByBoth),
        (json!({"post_id": "p", "title": "t"}), ByNobody),
        (json!({"post_id": "p", "media": [{"uri": "u", "alt": "a", "etag": "e"}]}), ByNobody),
        (json!({"post_id": "", "text": "t"}), ByBoth),
        (json!({"post_id": "a\u{7f}", "text": "t"}), ByBoth),
        (json!({"post_id": "x".repeat(257), "text": "t"}), ByBoth),
        (json!({"post_id": "p"}), ByBoth),
        (json!({"post_id": "p", "text": null}), ByBoth),
        (json!({"post_id": "p", "media": []}), ByBoth),
        (json!({"post_id": "p", "text": null, "text_ref": null, "media": null}), ByBoth),
        (json!({"post_id": "p", "text": ["t"]}), ByBoth),
        (json!({"post_id": "p", "text": "t", "text_ref": 5}), ByBoth),
        (json!({"post_id": "p", "text": "t", "revision": 0}), ByBoth),
        (json!({"post_id": "p", "text": "t", "revision": -1}), ByBoth),
        (json!({"post_id": "p", "text": "t", "revision": 1.5}), ByBoth),
        (json!({"post_id": "p", "text": "t", "revision": "2"}), ByNobody),
        (json!({"post_id": "p", "text": "t", "revision": "two"}), ByBoth),
        (json!({"post_id": "p", "text": "t", "text_ref": ""}), ByBoth),
        (json!({"post_id": "p", "text": "t", "media": vec![json!({"uri": "u"}); 101]}), ByBoth),
        (json!({"post_id": "p", "text": "t", "revision": 1e40}), ByBoth),
        (json!({"post_id": "p", "text": "t", "revision": 9_007_199_254_740_991u64}), ByNobody),
        (json!({"post_id": "p", "text": "t", "revision": 9_007_199_254_740_992u64}), ByBoth),
        (json!({"post_id": "p", "text": "t", "author_id": ""}), ByBoth),
        (json!({"post_id": "p", "text": "t", "author_id": 7}), ByNobody),
        (json!({"post_id": "p", "text": "t", "lang": long}), ByBoth),
        (json!({"post_id": "p", "text": "t", "lang": "e\nn"}), ByBoth),
        (json!({"post_id": "p", "text": "t", "lang": ""}), ByNobody),
        (json!({"post_id": "p", "text": "t", "surface": long}), ByBoth),
        (json!({"post_id": "p", "text": "t", "media": {}}), ByBoth),
        (json!({"post_id": "p", "text": "t", "media": ["u"]}), BySchema),
        (json!({"post_id": "p", "text": "t", "media": [{"type": "image/png"}]}), ByBoth),
        (json!({"post_id": "p", "text": "t", "media": [{"uri": "u", "type": 5}]}), ByBoth),
        (json!({"post_id": "p", "text": "t", "context": []}), ByBoth),
        (json!({"post_id": "p", "text": "t", "context": {"reply_to": 5}}), ByNobody),
        (json!({"post_id": "p", "text": "t", "context": {"reply_to": []}}), ByBoth),
        // JSON Schema counts characters.
        (json!({"post_id": "é".repeat(200), "text": "t"}), ByCode),
        (json!({"post_id": "p", "text": "t", "surface": "é".repeat(20)}), ByCode),
        (json!({"post_id": "p", "text": "t", "revision": 1.0}), ByNobody),
    ];
    for (document, expected) in table {
        assert_eq!(Refused::of(post.refuses(document), post_refused(document)), *expected, "{document}");
    }
}

#[test]
fn instants_are_accepted_and_refused_alike() {
    let post = JsonSchema::read("post");
    for (instant, expected) in [
        ("2026-11-23T10:00:00Z", ByNobody),
        ("2026-11-23T10:00:00.123456789Z", ByNobody),
        ("2026-11-23T10:00:00+01:00", ByNobody),
        ("2026-11-23T10:00:00-23:59", ByNobody),
        ("2024-02-29T10:00:00Z", ByNobody),
        ("2026-11-23t10:00:00z", ByNobody),
        ("yesterday", ByBoth),
        ("", ByBoth),
        ("2026-11-23", ByBoth),
        ("2026-11-23T10:00:00", ByBoth),
        ("2026-11-23T10:00Z", ByBoth),
        ("2026-11-23T25:00:00Z", ByBoth),
        ("2026-11-23T10:60:00Z", ByBoth),
        ("2026-11-31T10:00:00Z", ByBoth),
        ("2026-02-29T10:00:00Z", ByBoth),
        ("2026-11-23T10:00:00+25:00", ByBoth),
        ("12026-11-23T10:00:00Z", ByBoth),
        (" 2026-11-23T10:00:00Z", ByBoth),
        ("1795000000", ByBoth),
        // In UTC before the year 0: not to be written as RFC 3339 again.
        ("0000-01-01T00:00:00+01:00", ByCode),
    ] {
        let document = json!({"post_id": "p", "text": "t", "created_at": instant});
        assert_eq!(Refused::of(post.refuses(&document), post_refused(&document)), expected, "`{instant}`");
    }
}

/// Values for any field, right and wrong ones; without those that JSON Schema cannot tell apart.
fn value() -> impl Strategy<Value = Option<Value>> {
    let values = json!([
        null, true, 0, 1, 7, -1, 1.5, 1e300, "", "p-1", "en", "a\u{1}b", "x".repeat(36), "x".repeat(257),
        "2026-11-23T10:00:00Z", "s3://bucket/key", [], {}, [{"uri": "u"}], [{}], [null], [{"uri": 1}],
        {"reply_to": "p"}, {"reply_to": null}, {"reply_to": 1}
    ]);
    proptest::option::of(proptest::sample::select(values.as_array().unwrap().clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_post_is_judged_alike(values in proptest::collection::vec(value(), 11), id in any::<bool>(), few in 0..11usize) {
        let names = ["text", "text_ref", "revision", "author_id", "created_at", "lang", "surface", "media", "context", "mood"];
        let mut fields = Map::new();
        if id {
            fields.insert("post_id".to_owned(), json!("p-1"));
        }
        for (name, value) in names.iter().cycle().skip(few).take(4).zip(values) {
            fields.extend(value.map(|value| ((*name).to_owned(), value)));
        }
        let document = Value::Object(fields);
        thread_local!(static POST: JsonSchema = JsonSchema::read("post"));
        prop_assert_eq!(POST.with(|post| post.refuses(&document)), post_refused(&document), "{}", document);
    }
}

fn policy_refused(document: &Value) -> bool {
    Policy::load_untested(&document.to_string(), &schema()).is_err()
}

fn default_policy() -> Value {
    serde_saphyr::from_str(domain::policy::FALLBACK).unwrap()
}

/// A policy that uses every field there is.
fn full_policy() -> Value {
    let mut policy = default_policy();
    policy["second_opinion"] = json!({
        "by": "lambda", "bands": ["hate-uncertain"], "media": true, "timeout_ms": 3_000, "due_seconds": 60,
        "daily_budget_usd": 2.5, "usd_per_hour": 0.104,
    });
    policy["tests"] = json!([{
        "name": "everything",
        "given": {
            "scores": {"hate": 0.9}, "features": {"prior_violations": {"stale": 3}, "reports": {"present": 1}, "verified": "missing"},
            "revision": 2, "post": {"lang": "en", "surface": "post", "media_count": 1, "is_reply": true},
            "media": "available", "blocked_media": 1, "signals": {"slurs": 2}, "second_opinion": "available", "verdict_before": "yes",
        },
        "expect": {"decision": "hide", "reasons": ["hate-high"], "lane": "urgent", "decided_by": "model"},
    }]);
    policy
}

#[test]
fn the_default_policy_is_valid() {
    let policy = JsonSchema::read("policy");
    policy.accept(&default_policy());
    policy.accept(&full_policy());
    policy.accept(&serde_saphyr::from_str(include_str!("../policies/second-opinion.yaml")).unwrap());
    assert!(!policy_refused(&default_policy()));
    assert_eq!(policy.names_in(&full_policy()), policy.names());
}

/// The code lists the fields it reads when it meets one that it does not know; so it is asked at every object.
#[test]
fn policies_and_their_schema_have_the_same_fields() {
    let (policy, full) = (JsonSchema::read("policy"), full_policy());
    let mut objects = BTreeSet::from([String::new()]);
    policy.pointers(&full, "", &mut |pointer| {
        objects.extend(pointer.rsplit_once('/').map(|(object, _)| object.to_owned()));
    });
    let mut compared = 0;
    // Maps take any name. A feature given is a choice of forms, of which serde says only that none fits.
    for object in objects.iter().filter(|object| !policy.fields_at(object).is_empty() && !object.contains("/features/"))
    {
        let planted = JsonSchema::mutated(&full, &format!("{object}/no-such-field"), Some(&json!("?")));
        assert!(policy.refuses(&planted), "the schema takes any field in `{object}`");
        let Err(PolicyError::Shape(message)) = Policy::load_untested(&planted.to_string(), &schema()) else {
            panic!("the code takes any field in `{object}`")
        };
        assert_eq!(expected_in(&message), policy.fields_at(object), "`{object}`: code (left), schema (right)");
        compared += 1;
    }
    // The file, a harm, three bands, three lanes, three rules, the second opinion, the test, its evidence, post and expectation.
    assert_eq!(compared, 16);
}

#[test]
fn planted_faults_in_policies_are_refused() {
    let table: &[(&str, Option<Value>, Refused)] = &[
        ("/schema", Some(json!("policy/2")), ByBoth),
        ("/schema", None, ByBoth),
        ("/id", Some(json!("two words")), ByBoth),
        ("/id", Some(json!("x".repeat(49))), ByBoth),
        ("/id", Some(json!("")), ByBoth),
        ("/version", None, ByBoth),
        ("/description", None, ByNobody),
        ("/leading_harm", None, ByBoth),
        ("/leading_harm", Some(json!("spam")), ByCode),
        ("/harms", Some(json!({})), ByBoth),
        ("/harms/hate", Some(json!([])), ByBoth),
        ("/harms/hate/bands", Some(json!([])), ByBoth),
        ("/harms/hate/colour", Some(json!("red")), ByBoth),
        ("/harms/hate/bands/0/from", Some(json!(0.1)), ByBoth),
        ("/harms/hate/bands/0/lane", Some(json!("standard")), ByBoth),
        ("/harms/hate/bands/0/lane", Some(Value::Null), ByNobody),
        ("/harms/hate/bands/1/lane", None, ByBoth),
        ("/harms/hate/bands/1/lane", Some(Value::Null), ByBoth),
        ("/harms/hate/bands/1/lane", Some(json!("nowhere")), ByCode),
        ("/harms/hate/bands/1/from", Some(json!(1.5)), ByBoth),
        ("/harms/hate/bands/1/from", Some(json!(0.9)), ByCode),
        ("/harms/hate/bands/1/from", Some(json!("low")), ByBoth),
        ("/harms/hate/bands/1/decision", Some(json!("delete")), ByBoth),
        ("/harms/hate/bands/2/decision", None, ByBoth),
        ("/harms/hate/bands/2/id", Some(json!("hate/high")), ByBoth),
        ("/harms/hate/bands/2/id", Some(json!("hate-low")), ByCode),
        ("/required", None, ByNobody),
        ("/required/0", Some(json!("score")), ByBoth),
        ("/required/0", Some(json!("weather")), ByBoth),
        ("/required/0", Some(json!("score.spam")), ByCode),
        ("/required/0", Some(json!("features.user")), ByNobody),
        ("/lanes/urgent/priority", Some(json!(0)), ByBoth),
        ("/lanes/urgent/priority", Some(json!(256)), ByBoth),
        ("/lanes/urgent/priority", Some(json!(2)), ByCode),
        ("/lanes/urgent/due_minutes", Some(json!(0)), ByBoth),
        ("/lanes/urgent/due_minutes", Some(json!("an hour")), ByBoth),
        ("/lanes/urgent/owner", Some(json!("me")), ByBoth),
        ("/lanes/two words", Some(json!({"priority": 9, "due_minutes": 1})), ByBoth),
        ("/review_lane", None, ByBoth),
        ("/review_lane", Some(json!("nowhere")), ByCode),
        ("/rules", None, ByNobody),
        ("/rules/0/decision", Some(json!("approve")), ByBoth),
        ("/rules/0/when", None, ByBoth),
        ("/rules/0/when", Some(json!("")), ByBoth),
        ("/rules/0/when", Some(json!("x".repeat(2_001))), ByBoth),
        ("/rules/0/when", Some(json!("user.nothing > 1")), ByCode),
        ("/rules/0/reason", None, ByBoth),
        ("/rules/0/lane", None, ByBoth),
        ("/rules/0/if_unavailable", Some(json!("hide")), ByBoth),
        ("/rules/0/if_unavailable", None, ByNobody),
        ("/rules/0/at_least", Some(json!({"hate": 1.1})), ByBoth),
        ("/rules/0/at_least", Some(json!({"spam": 0.5})), ByCode),
        ("/rules/0/priority", Some(json!(1)), ByBoth),
        ("/second_opinion", None, ByNobody),
        ("/second_opinion", Some(Value::Null), ByNobody),
        ("/second_opinion", Some(json!("lambda")), ByBoth),
        ("/second_opinion/by", Some(json!("oracle")), ByBoth),
        ("/second_opinion/by", None, ByBoth),
        ("/second_opinion/bands", None, ByNobody),
        ("/second_opinion/bands", Some(json!(["nowhere"])), ByCode),
        ("/second_opinion/bands", Some(json!(["hate-high"])), ByCode),
        ("/second_opinion/bands", Some(json!("hate-uncertain")), ByBoth),
        ("/second_opinion/media", Some(json!(1)), ByBoth),
        ("/second_opinion/timeout_ms", Some(json!(49)), ByBoth),
        ("/second_opinion/timeout_ms", Some(json!(30_001)), ByBoth),
        ("/second_opinion/timeout_ms", None, ByBoth),
        ("/second_opinion/due_seconds", Some(json!(0)), ByBoth),
        ("/second_opinion/due_seconds", Some(json!(5)), ByCode),
        ("/second_opinion/due_seconds", Some(json!(6)), ByNobody),
        ("/second_opinion/daily_budget_usd", Some(json!(0)), ByNobody),
        ("/second_opinion/daily_budget_usd", Some(json!(-1)), ByBoth),
        ("/second_opinion/usd_per_hour", Some(json!(0)), ByBoth),
        ("/second_opinion/usd_per_hour", None, ByBoth),
        ("/second_opinion/mood", Some(json!("cheerful")), ByBoth),
        (
            "/second_opinion",
            Some(
                json!({"by": "lambda", "timeout_ms": 3_000, "due_seconds": 60, "daily_budget_usd": 2.5, "usd_per_hour": 1}),
            ),
            ByBoth, // asks for nothing
        ),
        ("/tests", None, ByNobody),
        ("/tests/0/name", None, ByBoth),
        ("/tests/0/given", None, ByNobody),
        ("/tests/0/given/scores/hate", Some(json!("absent")), ByBoth),
        ("/tests/0/given/scores/hate", Some(json!("ok")), BySchema), // a score of `ok` without a number says nothing
        ("/tests/0/given/scores/hate", Some(json!(7)), BySchema),
        ("/tests/0/given/features/verified", Some(json!("absent")), ByBoth),
        ("/tests/0/given/features/verified", Some(json!({"fresh": true})), ByBoth),
        ("/tests/0/given/features/verified", Some(json!("unavailable")), ByNobody),
        ("/tests/0/given/features/verified", Some(json!(true)), ByNobody),
        ("/tests/0/given/revision", Some(json!(0)), ByBoth),
        ("/tests/0/given/revision", Some(Value::Null), ByNobody),
        ("/tests/0/given/post/mood", Some(json!("cheerful")), ByBoth),
        ("/tests/0/given/media", Some(json!("some")), ByBoth),
        ("/tests/0/given/blocked_media", Some(json!(-1)), ByBoth),
        ("/tests/0/given/signals/slurs", Some(json!(-1)), ByBoth),
        ("/tests/0/given/signals/slurs", Some(json!("ok")), ByBoth),
        ("/tests/0/given/signals/slurs", Some(json!("unavailable")), ByNobody),
        ("/tests/0/given/second_opinion", Some(json!("yes")), ByBoth),
        ("/tests/0/given/verdict_before", Some(json!(false)), ByBoth),
        ("/tests/0/expect", None, ByBoth),
        ("/tests/0/expect/decision", None, ByBoth),
        ("/tests/0/expect/decided_by", Some(json!("nobody")), ByBoth),
        ("/tests/0/expect/decided_by", Some(Value::Null), ByNobody),
        ("/tests/0/expect/score", Some(json!(0.9)), ByBoth),
        ("/owner", Some(json!("me")), ByBoth),
    ];
    JsonSchema::read("policy").plant(&full_policy(), table, policy_refused);
}

proptest! {
    /// What a post says, and what of it nobody could read, is the same after it was written for another function and read there.
    #[test]
    fn a_post_comes_through_another_message_unchanged(picks in proptest::collection::vec(0usize..12, 12), media in 0usize..103) {
        let values = |pick: usize| {
            [
                json!(null), json!("words"), json!(""), json!(" "), json!(7), json!(1.5), json!(true), json!(false), json!([]),
                json!([[true]]), json!({"uri": "s3://b/k", "alt": true}), json!(["a", {"b": ["s3://b/c", 3]}]),
            ][pick].clone()
        };
        let mut event = json!({"post_id": "p", "display_name": "d"});
        let names = ["text", "text_ref", "title", "spoiler_text", "display_name", "lang", "surface", "context", "author_id", "created_at", "revision"];
        for (name, pick) in names.iter().zip(&picks) {
            event[*name] = values(*pick);
        }
        event["media"] = if media == 0 { values(picks[11]) } else { vec![values(picks[11]); media].into() };
        if let Ok(mut post) = Post::parse(event.to_string().as_bytes()) {
            let read = Post::parse(post.to_value().to_string().as_bytes()).map(|mut read| { read.notes.clear(); read });
            post.notes.clear();
            post.revision_given = true;
            prop_assert!(read.is_ok_and(|read| read == post), "{event}");
        }
    }
}
