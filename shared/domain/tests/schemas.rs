//! The schemas of `schemas/` and the code say the same, both ways: what the code writes is what the schemas describe,
//! and what one of them refuses the other refuses too, with every difference named in a table.
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
use domain::policy::{Decision, IfUnavailable};
use domain::*;
use proptest::prelude::*;
use schemas::{JsonSchema, Refused, Refused::*, set, words};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const RECORDS: [&str; 3] = ["decision", "review-task", "action-request"];

fn policy() -> Policy {
    Policy::fallback(&schema()).unwrap()
}

fn score(value: f64) -> Score {
    Score {
        raw: Some(value),
        calibrated: Some(value),
        model: "ngram-baseline@1".to_owned(),
        state: ScoreState::Ok,
        view: View::Text,
    }
}

/// Evidence on revision `revision` with a score of `value` and every feature missing.
fn evidence(revision: u64, value: f64) -> Evidence {
    let mut evidence = Evidence::of(Revision::try_from(revision).unwrap(), PostFacts::default());
    evidence.scores.insert("hate".to_owned(), score(value));
    evidence.features.extend(schema().features.keys().map(|name| (name.clone(), FeatureState::Missing)));
    evidence
}

fn record(evidence: &Evidence, author: Option<&str>) -> DecisionRecord {
    let policy = policy();
    let setting = Setting {
        model: ModelRef { name: "ngram-baseline".to_owned(), version: "1".to_owned(), sha256: sha256_hex(b"manifest") },
        feature_set: "core@1".to_owned(),
        feature_sha256: sha256_hex(b"definitions"),
        received_at: "2026-11-23T10:00:00Z".parse().unwrap(),
        decided_at: "2026-11-23T10:00:00.25Z".parse().unwrap(),
    };
    let post = PostId::try_from("event-sample".to_owned()).unwrap();
    let author = author.map(|id| AuthorId::try_from(id.to_owned()).unwrap());
    let mut record = DecisionRecord::new((post, author), evidence, &policy, decide(&policy, evidence), setting);
    record.cost_usd_micro = 1.3;
    record
}

fn explained(mut record: DecisionRecord) -> DecisionRecord {
    let spans = vec![Span { start: 4, end: 9, weight: 0.41 }, Span { start: 0, end: 3, weight: 0.02 }];
    record.explanation = Some(Explanation { method: "linear".to_owned(), spans, regions: Vec::new() });
    record
}

fn consulted(state: ScoreState, why: Option<&str>, model: Option<&str>) -> Consulted {
    Consulted { by: Adviser::Endpoint, state, why: why.map(str::to_owned), model: model.map(str::to_owned) }
}

/// A record decided again after somebody looked at its two images, of which one is broken.
fn looked_at(mut record: DecisionRecord) -> DecisionRecord {
    let seen = ImageRecord {
        lines: 2,
        pdq: Some("0f".repeat(32)),
        blocked: Some("list-7".to_owned()),
        ..ImageRecord::default()
    };
    record.images = vec![seen, ImageRecord { error: Some("truncated".to_owned()), ..ImageRecord::default() }];
    record.second_opinion = Some(consulted(ScoreState::Ok, None, Some("ensemble@1")));
    if let Some(explanation) = &mut record.explanation {
        explanation.method = "lines".to_owned();
        explanation.regions = vec![Region { image: 0, frame: 3, bounds: [12, 40, 310, 72], weight: 0.93 }];
    }
    record.attempt = 2;
    record
}

/// A hidden post with every field that a record can have, but [`NOT_IN_FULL`].
fn full() -> DecisionRecord {
    let mut evidence = evidence(2, 0.93);
    evidence.scores.insert("hate".to_owned(), Score { view: View::Ocr(0), ..score(0.93) });
    evidence.post = PostFacts { lang: "en".to_owned(), surface: "comment".to_owned(), media_count: 2, is_reply: true };
    evidence.media = Availability::Unavailable;
    evidence.verdict_before = VerdictBefore::Yes;
    evidence.features.insert("prior_violations".to_owned(), FeatureState::Stale(FeatureValue::Int(3)));
    evidence.features.insert("verified".to_owned(), FeatureState::Present(FeatureValue::Bool(false)));
    evidence.features.insert("reports".to_owned(), FeatureState::Unavailable);
    (evidence.content_unread, evidence.conflict, evidence.policy_assumed) = (true, Some(Decision::Hide), true);
    let mut record = looked_at(explained(record(&evidence, Some("u-1"))));
    // The sample in events/ should not change with every edit of the default policy.
    record.policy =
        PolicyRef { id: "default".to_owned(), version: "1".to_owned(), sha256: sha256_hex(b"policy"), assumed: true };
    record.content = ContentRecord {
        digest: Some("9a".repeat(16)),
        objects: Some("0c".repeat(4)),
        unread: vec!["text_ref".to_owned()],
        others: vec!["7b".repeat(16)],
        conflict: Some(Decision::Hide),
    };
    let matched = SignalMatch {
        line: 14,
        view: View::Ocr(0),
        start: 4,
        end: 9,
        bounds: Some([12, 40, 310, 72]),
        label: Some("new in May".to_owned()),
    };
    let signal =
        SignalRecord { found: 1, partial: vec![Unsearched::Text], version: "0f".repeat(6), matches: vec![matched] };
    record.signals = BTreeMap::from([("campaign".to_owned(), signal)]);
    record.source = Source { queue: "moderato-dev-posts".to_owned(), sender: "AIDAEXAMPLE".to_owned() };
    record
}

/// A second opinion that was had has no reason why it was not.
const NOT_IN_FULL: &str = "second_opinion.why";

/// Records of every kind that the code can write.
fn records() -> Vec<DecisionRecord> {
    let with = |change: &dyn Fn(&mut Evidence)| {
        let mut evidence = evidence(1, 0.05);
        change(&mut evidence);
        record(&evidence, None)
    };
    let mut human = record(&evidence(1, 0.93), Some("u-1"));
    (human.decided_by, human.decision, human.attempt, human.review) = (DecidedBy::Human, Decision::Approve, 2, None);
    let mut provisional = record(&evidence(1, 0.5), Some("u-1"));
    provisional.provisional = true;
    let mut without = record(&evidence(1, 0.5), Some("u-1"));
    without.second_opinion = Some(consulted(ScoreState::Unavailable, Some("timeout"), None));
    without.attempt = 2;
    vec![
        full(),
        human,
        provisional,
        without,
        record(&evidence(1, 0.0), Some("u-1")),
        record(&evidence(1, 0.2), Some("u-1")),
        explained(record(&evidence(1, 1.0), Some("u-1"))),
        record(&evidence(2, 0.0), Some("u-1")),
        with(&|evidence| drop(evidence.scores.insert("hate".to_owned(), Score::unavailable("ngram-baseline@1")))),
        with(&|evidence| {
            let skipped = Score { state: ScoreState::Skipped, ..Score::unavailable("ngram-baseline@1") };
            evidence.scores.insert("hate".to_owned(), skipped);
            evidence.post.media_count = 2;
            evidence.media = Availability::Unavailable;
        }),
        with(&|evidence| evidence.scores.clear()),
        with(&|evidence| evidence.media = Availability::Available),
        with(&|evidence| evidence.verdict_before = VerdictBefore::Unavailable),
        with(&|evidence| {
            evidence.features.insert("reports".to_owned(), FeatureState::Present(FeatureValue::Int(5)));
            evidence.features.insert("verified".to_owned(), FeatureState::Present(FeatureValue::Float(0.5)));
        }),
    ]
}

/// What `records` write, by kind of message.
fn written(records: &[DecisionRecord]) -> BTreeMap<&'static str, Vec<Value>> {
    let mut all: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for record in records {
        let owed = record.owed();
        all.entry("decision").or_default().push(serde_json::to_value(record).unwrap());
        all.entry("review-task").or_default().extend(owed.task.map(|task| serde_json::to_value(task).unwrap()));
        all.entry("action-request")
            .or_default()
            .extend(owed.action.map(|action| serde_json::to_value(action).unwrap()));
    }
    all
}

#[test]
fn records_and_schemas_have_the_same_fields() {
    for (kind, documents) in written(&records()) {
        let schema = JsonSchema::read(kind);
        let mut names = BTreeSet::new();
        for document in &documents {
            schema.accept(document);
            names.extend(schema.names_in(document));
        }
        assert_eq!(names, schema.names(), "{kind}: fields written (left), fields of the schema (right)");
    }
}

#[test]
fn a_field_that_only_one_side_has_is_seen() {
    let mut schema = JsonSchema::read("decision");
    let document = serde_json::to_value(full()).unwrap();
    let missing: BTreeSet<_> = schema.names().difference(&schema.names_in(&document)).cloned().collect();
    assert_eq!(missing, set(&[NOT_IN_FULL]));
    let more = JsonSchema::mutated(&document, "/explanation/spans/0/colour", Some(&json!("red")));
    assert!(schema.names_in(&more).contains("explanation.spans[].colour"));
    schema.document["properties"]["scores"]["additionalProperties"]["properties"]["mood"] = json!({});
    assert!(schema.names().contains("scores.*.mood"));
}

fn state() -> impl Strategy<Value = FeatureState> {
    let value = prop_oneof![
        any::<i64>().prop_map(FeatureValue::Int),
        any::<bool>().prop_map(FeatureValue::Bool),
        (-1e300..1e300f64).prop_map(FeatureValue::Float),
    ];
    prop_oneof![
        value.clone().prop_map(FeatureState::Present),
        value.prop_map(FeatureState::Stale),
        Just(FeatureState::Missing),
        Just(FeatureState::Unavailable),
    ]
}

fn any_view() -> impl Strategy<Value = View> {
    prop_oneof![Just(View::Text), any::<u32>().prop_map(View::Image), any::<u32>().prop_map(View::Ocr)]
}

fn any_image() -> impl Strategy<Value = ImageRecord> {
    let word = || proptest::option::of("[a-z0-9_-]{1,12}");
    (word(), any::<u32>(), proptest::option::of("[0-9a-f]{64}"), word())
        .prop_map(|(error, lines, pdq, blocked)| ImageRecord { error, lines, pdq, blocked })
}

fn any_consulted() -> impl Strategy<Value = Consulted> {
    let by = prop_oneof![Just(Adviser::Endpoint), Just(Adviser::Lambda)];
    let state = prop_oneof![Just(ScoreState::Ok), Just(ScoreState::Unavailable), Just(ScoreState::Skipped)];
    (by, state, proptest::option::of("[a-z]{1,8}"), proptest::option::of("[a-z]{1,8}@1"))
        .prop_map(|(by, state, why, model)| Consulted { by, state, why, model })
}

fn any_region() -> impl Strategy<Value = Region> {
    (any::<u32>(), any::<u32>(), any::<[u32; 4]>(), 0.0..=1.0f64).prop_map(|(image, frame, bounds, weight)| Region {
        image,
        frame,
        bounds,
        weight,
    })
}

fn any_record() -> impl Strategy<Value = DecisionRecord> {
    let id = "[\\p{L}\\p{N}\\p{P} ]{1,60}";
    let score = prop_oneof![
        3 => (0.0..=1.0f64, any_view()).prop_map(|(value, view)| Score { view, ..score(value) }),
        1 => Just(Score::unavailable("m@1")),
        1 => Just(Score { state: ScoreState::Skipped, ..Score::unavailable("m@1") }),
    ];
    let media = prop_oneof![Just(Availability::None), Just(Availability::Available), Just(Availability::Unavailable)];
    let verdict = prop_oneof![Just(VerdictBefore::No), Just(VerdictBefore::Yes), Just(VerdictBefore::Unavailable)];
    let facts = ("[^\\p{Cc}]{0,8}", "[a-z]{0,8}", any::<u32>(), any::<bool>());
    (
        (id, proptest::option::of(id), 1..=9_007_199_254_740_991u64),
        proptest::collection::btree_map(prop_oneof![Just("hate".to_owned()), Just("spam".to_owned())], score, 0..3),
        proptest::collection::btree_map("[a-z_]{1,8}", state(), 0..6),
        (media, verdict, facts),
        (
            proptest::collection::vec(any_image(), 0..3),
            proptest::option::of(any_consulted()),
            proptest::collection::vec(any_region(), 0..=5),
        ),
        (any::<bool>(), 1..u32::MAX, any::<bool>(), any::<i64>()),
    )
        .prop_map(|((post, author, revision), scores, features, (media, verdict_before, facts), seen, rest)| {
            let (images, second_opinion, regions) = seen;
            let (with_explanation, attempt, provisional, millis) = rest;
            let (lang, surface, media_count, is_reply) = facts;
            let revision = Revision::try_from(revision).unwrap();
            let post_facts = PostFacts { lang, surface, media_count, is_reply };
            let evidence = Evidence { scores, features, media, verdict_before, ..Evidence::of(revision, post_facts) };
            let mut record = record(&evidence, author.as_deref());
            record.decision_id = decision_id(&PostId::try_from(post.clone()).unwrap(), revision);
            record.post_id = PostId::try_from(post).unwrap();
            (record.attempt, record.provisional) = (attempt, provisional);
            (record.images, record.second_opinion) = (images, second_opinion);
            record.received_at = Timestamp::from_millis(millis);
            if with_explanation {
                record = explained(record);
                record.explanation.as_mut().unwrap().regions = regions;
            }
            record
        })
}

/// The code reads the document, and writes it again as it was.
fn reads<T: DeserializeOwned + Serialize>(document: &Value) -> bool {
    serde_json::from_value::<T>(document.clone()).is_ok_and(|read| serde_json::to_value(read).unwrap() == *document)
}

fn refuses(kind: &str, document: &Value) -> bool {
    let document = document.clone();
    match kind {
        "decision" => serde_json::from_value::<DecisionRecord>(document).is_err(),
        "review-task" => serde_json::from_value::<ReviewTask>(document).is_err(),
        "action-request" => serde_json::from_value::<ActionRequest>(document).is_err(),
        _ => panic!("no records of kind `{kind}`"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_the_code_writes_is_valid_and_read_back(record in any_record()) {
        let schemas = RECORDS.map(|kind| (kind, JsonSchema::read(kind)));
        for (kind, schema) in &schemas {
            for document in written(std::slice::from_ref(&record)).remove(kind).unwrap_or_default() {
                schema.accept(&document);
                let same = match *kind {
                    "decision" => reads::<DecisionRecord>(&document),
                    "review-task" => reads::<ReviewTask>(&document),
                    _ => reads::<ActionRequest>(&document),
                };
                prop_assert!(same);
            }
        }
    }
}

/// Fields that are always written, and that readers do without: every `null`, and what was added to the contract later.
const READ_WITHOUT: [&str; 6] =
    ["/author_id", "/score", "/post", "/scores/hate/raw", "/scores/hate/calibrated", "/given/revision"];

#[test]
fn what_the_schemas_require_the_code_requires() {
    for (kind, documents) in written(&[full()]) {
        let schema = JsonSchema::read(kind);
        let document = &documents[0];
        let required = schema.required_in(document);
        assert!(required.len() > 8, "{kind}: {required:?}");
        schema.pointers(document, "", &mut |pointer| {
            let by_code = refuses(kind, &JsonSchema::mutated(document, pointer, None));
            let by_schema = required.contains(&pointer.to_owned());
            let lenient = READ_WITHOUT.contains(&pointer) || (kind, pointer) == ("action-request", "/attempt");
            assert_eq!(by_code, by_schema && !lenient, "{kind} without {pointer}");
        });
    }
}

#[test]
fn planted_faults_in_records_are_refused() {
    let decision: &[(&str, Option<Value>, Refused)] = &[
        ("/decision", Some(json!("delete")), ByBoth),
        ("/decision", Some(json!("Hide")), ByBoth),
        ("/decided_by", Some(json!("nobody")), ByBoth),
        ("/scores/hate/state", Some(json!("absent")), ByBoth),
        ("/media", Some(json!("some")), ByBoth),
        ("/verdict_before", Some(json!(false)), ByBoth),
        ("/post_id", Some(json!("")), ByBoth),
        ("/post_id", Some(json!("a\u{0}b")), ByBoth),
        ("/post_id", Some(json!("a\u{85}b")), ByBoth),
        ("/post_id", Some(json!("x".repeat(257))), ByBoth),
        ("/post_id", Some(json!("x".repeat(256))), ByNobody),
        ("/post_id", Some(json!("é".repeat(256))), ByCode),
        ("/author_id", Some(json!("")), ByBoth),
        ("/author_id", Some(Value::Null), ByNobody),
        ("/revision", Some(json!(0)), ByBoth),
        ("/revision", Some(json!(-1)), ByBoth),
        ("/revision", Some(json!(1.5)), ByBoth),
        ("/revision", Some(json!(1.0)), ByCode),
        ("/revision", Some(json!("2")), ByBoth),
        ("/revision", Some(json!(9_007_199_254_740_991u64)), ByNobody),
        ("/revision", Some(json!(9_007_199_254_740_992u64)), ByBoth),
        ("/attempt", Some(json!(-1)), ByBoth),
        ("/attempt", Some(json!(4_294_967_296u64)), ByBoth),
        ("/attempt", Some(json!(0)), BySchema),
        ("/review/priority", Some(json!(256)), ByBoth),
        ("/review/priority", Some(json!(0)), BySchema),
        ("/review/due_at", Some(json!("tomorrow")), ByBoth),
        ("/received_at", Some(json!("2026-11-23 10:00")), ByBoth),
        ("/received_at", Some(json!("2026-13-23T10:00:00.000Z")), ByBoth),
        ("/received_at", Some(json!(1_795_000_000)), ByBoth),
        ("/decided_at", Some(json!("2026-11-23T10:00:00Z")), BySchema),
        ("/score", Some(json!("0.93")), ByBoth),
        ("/score", Some(json!(1.01)), BySchema),
        ("/scores/hate/raw", Some(json!(-0.01)), BySchema),
        ("/scores/hate", Some(json!(0.93)), ByBoth),
        ("/reasons", Some(json!("hate-high")), ByBoth),
        ("/reasons/0", Some(json!({"rule": "hate-high"})), ByBoth),
        ("/features/values/verified", Some(json!("yes")), ByBoth),
        ("/features/values/verified", Some(Value::Null), ByBoth),
        ("/features/missing", Some(json!([1])), ByBoth),
        ("/explanation/spans/0/start", Some(json!(-4)), ByBoth),
        ("/explanation/spans/0/weight", Some(Value::Null), ByBoth),
        ("/explanation/spans", Some(json!(vec![json!({"start": 0, "end": 1, "weight": 0.1}); 6])), BySchema),
        ("/scores/hate/view", Some(json!("image:1")), ByNobody),
        ("/scores/hate/view", Some(json!("image")), BySchema),
        ("/scores/hate/view", Some(json!("ocr:-1")), BySchema),
        ("/scores/hate/view", Some(json!("video:0")), BySchema),
        ("/scores/hate/view", Some(json!("ocr:4294967296")), ByNobody),
        ("/scores/hate/view", None, ByNobody),
        ("/images", None, ByNobody),
        ("/images/0", Some(json!({})), ByNobody),
        ("/images/0", Some(json!("fine")), ByBoth),
        ("/images/0/lines", Some(json!(-1)), ByBoth),
        ("/images/0/pdq", Some(json!("0f")), BySchema),
        ("/images/1/error", Some(json!(404)), ByBoth),
        ("/second_opinion", None, ByNobody),
        ("/second_opinion/by", Some(json!("oracle")), ByBoth),
        ("/second_opinion/by", Some(json!("lambda")), ByNobody),
        ("/second_opinion/state", Some(json!("late")), ByBoth),
        ("/second_opinion/why", Some(json!("timeout")), ByNobody),
        ("/second_opinion/why", Some(json!(3)), ByBoth),
        ("/explanation/regions", None, ByNobody),
        ("/explanation/regions/0/bounds", Some(json!([1, 2, 3])), ByBoth),
        ("/explanation/regions/0/bounds/0", Some(json!(-1)), ByBoth),
        ("/explanation/regions/0/image", Some(json!(1.5)), ByBoth),
        ("/explanation/regions/0/weight", Some(json!(1.5)), BySchema),
        ("/provisional", Some(json!("no")), ByBoth),
        ("/cost_usd_micro", Some(Value::Null), ByBoth),
        ("/cost_usd_micro", Some(json!(-1.0)), BySchema),
        ("/policy/sha256", Some(json!("ABC")), BySchema),
        ("/decision_id", Some(json!("p-1")), BySchema),
        ("/schema", Some(json!("decision/2")), BySchema),
        ("/post/mood", Some(json!("later versions add facts")), ByNobody),
        ("/content", None, ByNobody),
        ("/content/digest", Some(json!("9A")), BySchema),
        ("/content/unread", Some(json!("text")), ByBoth),
        ("/content/conflict", Some(json!("maybe")), ByBoth),
        ("/source", None, ByNobody),
        ("/source/queue", Some(json!(7)), ByBoth),
        ("/policy/assumed", Some(json!("yes")), ByBoth),
        ("/post/media_count", Some(json!(-1)), ByBoth),
        ("/experiment", Some(json!("later versions add fields")), ByNobody),
    ];
    let task: &[(&str, Option<Value>, Refused)] = &[
        ("/decision", Some(json!("delete")), ByBoth),
        ("/revision", Some(json!(0)), ByBoth),
        ("/due_at", Some(json!("soon")), ByBoth),
        ("/created_at", Some(Value::Null), ByBoth),
        ("/priority", Some(json!("urgent")), ByBoth),
        ("/lane", Some(Value::Null), ByBoth),
        ("/reasons", None, ByBoth),
        ("/task_id", Some(json!("p-1-task")), BySchema),
        ("/schema", Some(json!("action/1")), BySchema),
        ("/note", Some(json!("later versions add fields")), ByNobody),
    ];
    let action: &[(&str, Option<Value>, Refused)] = &[
        ("/action", Some(json!("delete")), ByBoth),
        ("/action", None, ByBoth),
        ("/revision", Some(json!(0)), ByBoth),
        ("/post_id", Some(json!("a\nb")), ByBoth),
        ("/decided_at", Some(json!("now")), ByBoth),
        ("/attempt", Some(json!(0)), BySchema),
        ("/attempt", Some(json!("second")), ByBoth),
        ("/attempt", None, BySchema),
        ("/action_id", Some(json!("p-1-hide")), BySchema),
        ("/schema", Some(json!("task/1")), BySchema),
        ("/note", Some(json!("later versions add fields")), ByNobody),
    ];
    let documents = written(&[full()]);
    for (kind, table) in [("decision", decision), ("review-task", task), ("action-request", action)] {
        JsonSchema::read(kind).plant(&documents[kind][0], table, |document| refuses(kind, document));
    }
}

#[test]
fn enumerations_are_those_of_the_code() {
    let some =
        |all: &BTreeSet<String>, but: &[&str]| -> BTreeSet<String> { all.difference(&set(but)).cloned().collect() };
    let (decision, decided_by, state) = (words::<Decision>(), words::<DecidedBy>(), words::<ScoreState>());
    let (availability, verdict) = (words::<Availability>(), words::<VerdictBefore>());
    assert_eq!(decision, set(&["approve", "review", "hide"]));
    let table = [
        ("post", vec![]),
        ("escalation", vec![]),
        (
            "decision",
            vec![
                ("decision", decision.clone()),
                ("decided_by", decided_by.clone()),
                ("scores.*.state", state.clone()),
                ("media", availability.clone()),
                ("second_opinion.by", words::<Adviser>()),
                ("second_opinion.state", state.clone()),
                ("signals.*.partial[]", words::<Unsearched>()),
                ("verdict_before", verdict.clone()),
                ("content.conflict", decision.clone()),
            ],
        ),
        ("review-task", vec![("decision", decision.clone())]),
        ("action-request", vec![("action", words::<ActionKind>())]),
        (
            "policy",
            vec![
                ("harms.*.bands[].decision", decision.clone()),
                ("rules[].decision", some(&decision, &["approve"])),
                ("rules[].if_unavailable", words::<IfUnavailable>()),
                ("tests[].given.scores.*", some(&state, &["ok"])),
                ("tests[].given.features.*", some(&words::<FeatureState>(), &["present", "stale"])),
                ("second_opinion.by", words::<Adviser>()),
                ("tests[].given.media", availability.clone()),
                ("tests[].given.second_opinion", availability),
                ("tests[].given.verdict_before", verdict),
                ("tests[].expect.decision", decision),
                ("tests[].expect.decided_by", decided_by),
            ],
        ),
    ];
    for (kind, expected) in table {
        let expected: BTreeMap<_, _> = expected.into_iter().map(|(path, words)| (path.to_owned(), words)).collect();
        assert_eq!(JsonSchema::read(kind).enumerations(), expected, "{kind}: schema (left), code (right)");
    }
}

/// Each schema stands alone, so what several define has to be the same in all of them.
#[test]
fn shared_definitions_are_the_same_everywhere() {
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    for kind in ["post", "decision", "review-task", "action-request", "escalation"] {
        for (name, definition) in JsonSchema::read(kind).document["$defs"].as_object().unwrap() {
            let first = seen.entry(name.clone()).or_insert_with(|| definition.clone());
            assert_eq!(first, definition, "`{name}` of {kind}");
        }
    }
    let policy = JsonSchema::read("policy");
    assert_eq!(policy.document["$defs"]["decision"], seen["decision"]);
    let (post, inside) = (JsonSchema::read("post").document, &seen["post"]);
    for part in ["type", "required", "anyOf", "properties", "additionalProperties"] {
        assert_eq!(post[part], inside[part], "`{part}` of a post, alone and in an escalation");
    }
}

#[test]
fn every_field_is_described() {
    let kinds = ["post", "decision", "review-task", "action-request", "escalation", "policy", "feature-definitions"];
    for kind in kinds.into_iter().chain(["features-row"]) {
        let schema = JsonSchema::read(kind);
        assert!(schema.document["description"].as_str().is_some_and(|text| text.len() > 60), "{kind}");
        let mut bare = Vec::new();
        undescribed(&schema.document, kind, &mut bare);
        assert!(bare.is_empty(), "without a description: {bare:#?}");
    }
}

/// Properties without a description, conditions and choices left out.
fn undescribed(node: &Value, path: &str, bare: &mut Vec<String>) {
    match node {
        Value::Object(fields) => {
            for (name, child) in fields {
                match (name.as_str(), child) {
                    ("if" | "then" | "else" | "anyOf" | "oneOf" | "prefixItems", _) => {}
                    ("properties" | "$defs", Value::Object(properties)) => {
                        for (name, property) in properties {
                            if property["description"].as_str().is_none_or(str::is_empty) {
                                bare.push(format!("{path}.{name}"));
                            }
                            undescribed(property, &format!("{path}.{name}"), bare);
                        }
                    }
                    _ => undescribed(child, path, bare),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| undescribed(item, path, bare)),
        _ => {}
    }
}

/// One sample of each message in `events/messages/`, for those who write consumers.
#[test]
fn sample_messages_are_what_the_code_writes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/messages");
    let record = full();
    let owed = record.owed();
    let expected = [
        ("decision.json", pretty(&record)),
        ("review-task.json", pretty(&owed.task.unwrap())),
        ("action-request.json", pretty(&owed.action.unwrap())),
        ("escalation.json", pretty(&escalation())),
    ];
    for (name, text) in expected {
        let found = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(found == text, "events/messages/{name} has to be\n{text}");
        let document: Value = serde_json::from_str(&found).unwrap();
        let kind = name.strip_suffix(".json").unwrap();
        JsonSchema::read(kind).accept(&document);
        assert!(if kind == "escalation" { !escalation_refused(&document) } else { !refuses(kind, &document) });
    }
    let files: BTreeSet<_> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, set(&["decision.json", "review-task.json", "action-request.json", "escalation.json"]));
}

/// The message that asks for a second opinion on a post with an image.
fn escalation() -> Value {
    let post = json!({
        "post_id": "event-sample", "revision": 2, "author_id": "u-1", "created_at": "2026-11-23T09:59:58Z",
        "text": "Look at this.", "lang": "en", "surface": "comment",
        "media": [{"uri": "s3://bucket/content/picture.png", "type": "image/png", "alt": "A picture", "etag": "e"}], "context": {"reply_to": "p-0"},
        "title": "A title", "spoiler_text": "A warning", "display_name": "ana", "text_ref": "s3://bucket/content/text",
    });
    let post = Post::from_value(post, domain::json::Repairs::default()).ok().unwrap();
    let sent = Escalation { post, received_at: "2026-11-23T10:00:00Z".parse().unwrap() };
    serde_json::from_str(&sent.to_body()).unwrap()
}

fn escalation_refused(document: &Value) -> bool {
    Escalation::parse(document.to_string().as_bytes()).is_err()
}

#[test]
fn escalations_and_their_schema_have_the_same_fields() {
    let schema = JsonSchema::read("escalation");
    schema.accept(&escalation());
    let missing: BTreeSet<_> = schema.names().difference(&schema.names_in(&escalation())).cloned().collect();
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn planted_faults_in_escalations_are_refused() {
    let table: &[(&str, Option<Value>, Refused)] = &[
        ("/schema", Some(json!("escalation/2")), ByBoth),
        ("/schema", None, ByBoth),
        ("/received_at", None, ByBoth),
        ("/received_at", Some(json!("now")), ByBoth),
        ("/received_at", Some(json!("2026-11-23T10:00:00Z")), BySchema),
        ("/post", None, ByBoth),
        ("/post", Some(json!("p-1")), ByBoth),
        ("/post/post_id", None, ByBoth),
        ("/post/revision", Some(json!(0)), BySchema),
        ("/post/media/0/uri", Some(json!(1)), BySchema),
        ("/post/author_id", None, ByNobody),
        ("/attempt", Some(json!("later versions add fields")), ByNobody),
    ];
    JsonSchema::read("escalation").plant(&escalation(), table, escalation_refused);
}

fn pretty(message: &impl Serialize) -> String {
    serde_json::to_string_pretty(message).unwrap() + "\n"
}
