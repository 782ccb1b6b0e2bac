//! Laws 4, 5 and 7 as properties of `decide` over any policy of the family below and any evidence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod common;

use common::schema;
use domain::policy::Decision;
use domain::*;
use proptest::prelude::*;

fn state() -> impl Strategy<Value = FeatureState> {
    prop_oneof![
        (0i64..12).prop_map(|n| FeatureState::Present(FeatureValue::Int(n))),
        (0i64..12).prop_map(|n| FeatureState::Stale(FeatureValue::Int(n))),
        Just(FeatureState::Missing),
        Just(FeatureState::Unavailable),
        Just(FeatureState::Present(FeatureValue::Bool(true))),
        Just(FeatureState::Present(FeatureValue::Float(f64::NAN))),
    ]
}

fn score() -> impl Strategy<Value = Score> {
    let value = prop_oneof![0.0..=1.0f64, Just(0.2), Just(0.8), Just(f64::NAN), Just(2.0), Just(-1.0)];
    (value, prop_oneof![4 => Just(ScoreState::Ok), 1 => Just(ScoreState::Unavailable), 1 => Just(ScoreState::Skipped)])
        .prop_map(|(value, state)| Score {
            raw: Some(value),
            calibrated: Some(value),
            model: "m@1".to_owned(),
            state,
            view: View::Text,
        })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let availability =
        prop_oneof![Just(Availability::None), Just(Availability::Available), Just(Availability::Unavailable)];
    let second_opinion =
        prop_oneof![Just(Availability::None), Just(Availability::Available), Just(Availability::Unavailable)];
    let signal = (0u32..4, any::<bool>()).prop_map(|(found, partial)| Signal { found, partial });
    let signals = proptest::collection::btree_map(
        proptest::sample::select(vec!["slurs", "codes"]).prop_map(str::to_owned),
        signal,
        0..3,
    );
    let verdict = prop_oneof![Just(VerdictBefore::No), Just(VerdictBefore::Yes), Just(VerdictBefore::Unavailable)];
    let conflict = prop_oneof![Just(Decision::Approve), Just(Decision::Review), Just(Decision::Hide)];
    let names = proptest::sample::select(vec!["prior_violations", "account_age_days", "verified", "reports"]);
    (
        proptest::collection::btree_map(Just("hate".to_owned()), score(), 0..2),
        proptest::collection::btree_map(names.prop_map(str::to_owned), state(), 0..5),
        availability,
        verdict,
        (0u32..3, any::<bool>(), 1u64..4),
        (0u32..2, second_opinion, signals),
        (any::<bool>(), proptest::option::weighted(0.2, conflict), any::<bool>()),
    )
        .prop_map(
            |(
                scores,
                features,
                media,
                verdict_before,
                (media_count, is_reply, revision),
                (blocked_media, second_opinion, signals),
                (content_unread, conflict, policy_assumed),
            )| Evidence {
                revision: Revision::try_from(revision).unwrap(),
                post: PostFacts { lang: "en".to_owned(), surface: "post".to_owned(), media_count, is_reply },
                scores,
                features,
                media,
                blocked_media,
                signals,
                verdict_before,
                second_opinion,
                content_unread,
                conflict,
                policy_assumed,
            },
        )
}

/// Rules of every kind, hiding ones and ones that fail while they are evaluated included.
const RULES: [&str; 8] = [
    "{id: a, harm: hate, reason: r, when: user.prior_violations >= 3, at_least: {hate: 0.2}, decision: review, lane: elevated}",
    "{id: b, harm: hate, reason: r, when: 'post.reports >= 5', decision: hide, lane: urgent, if_unavailable: ignore}",
    "{id: c, harm: hate, reason: r, when: user.account_age_days < 7 && user.prior_violations >= 1, decision: review, lane: standard}",
    "{id: d, harm: hate, reason: r, when: 100 / post.media_count > 60, decision: review, lane: standard}",
    "{id: e, harm: hate, reason: r, when: user.verified || post.is_reply, at_least: {hate: 0.5}, decision: hide, lane: elevated}",
    "{id: g, harm: hate, reason: r, when: signal.slurs >= 1, decision: hide, lane: urgent}",
    "{id: h, harm: hate, reason: r, when: 2 < signal.slurs + signal.codes && (post.is_reply || signal.codes > 0), decision: review, lane: elevated}",
    "{id: f, harm: hate, reason: r, when: 'post.lang in [\"de\", \"fr\"]', decision: review, lane: urgent}",
];

fn policy(rules: &[&str]) -> Policy {
    let rules = rules.iter().map(|rule| format!("  - {rule}\n")).collect::<String>();
    let source = format!(
        "schema: policy/1\nid: p\nversion: '1'\nleading_harm: hate\nreview_lane: standard\n\
         required: [score.hate, media, history]\n\
         harms: {{hate: {{bands: [{{id: low, from: 0.0, decision: approve}}, {{id: mid, from: 0.2, decision: review, lane: standard}}, {{id: high, from: 0.8, decision: hide, lane: urgent}}]}}}}\n\
         lanes: {{urgent: {{priority: 1, due_minutes: 60}}, elevated: {{priority: 2, due_minutes: 240}}, standard: {{priority: 3, due_minutes: 1440}}}}\n\
         rules:\n{rules}"
    );
    Policy::load(&source, &schema()).expect("the policy of the test loads")
}

fn chosen_rules() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(RULES.to_vec(), 1..=RULES.len()).prop_shuffle()
}

fn urgency(policy: &Policy, judged: &Judgement) -> u8 {
    judged.lane.as_ref().map_or(u8::MAX, |lane| policy.lanes[lane].priority)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Laws 5 and 10: more matches, of whatever bank, never soften; and a bank that was not searched whole approves nothing that a match in it
    /// would not let pass.
    #[test]
    fn more_matches_never_soften(rules in chosen_rules(), evidence in evidence(), more in 0u32..4, bank in proptest::sample::select(vec!["slurs", "codes"])) {
        let policy = policy(&rules);
        let mut raised = evidence.clone();
        raised.signals.entry(bank.to_owned()).or_insert(Signal::UNAVAILABLE).found += more;
        let (before, after) = (decide(&policy, &evidence), decide(&policy, &raised));
        prop_assert!(after.decision >= before.decision);
        let mut partial = evidence.clone();
        partial.signals.insert(bank.to_owned(), Signal { partial: true, ..evidence.signals.get(bank).copied().unwrap_or(Signal::UNAVAILABLE) });
        if decide(&policy, &partial).decision == Decision::Approve {
            prop_assert_eq!(decide(&policy, &raised).decision, Decision::Approve);
        }
    }

    /// Law 5, totality: something comes back, with a reason, and a lane exactly where somebody should look.
    #[test]
    fn every_evidence_is_decided(rules in chosen_rules(), evidence in evidence()) {
        let judged = decide(&policy(&rules), &evidence);
        prop_assert!(!judged.reasons.is_empty());
        prop_assert_eq!(judged.lane.is_some(), judged.decision != Decision::Approve);
        prop_assert_ne!(judged.decided_by, DecidedBy::Human);
    }

    /// Law 5: the order of rules does not matter.
    #[test]
    fn order_of_rules_does_not_matter(rules in chosen_rules(), evidence in evidence()) {
        let mut turned = rules.clone();
        turned.reverse();
        prop_assert_eq!(decide(&policy(&rules), &evidence), decide(&policy(&turned), &evidence));
    }

    /// Law 5: a higher score never softens, neither the decision nor the urgency.
    #[test]
    fn a_higher_score_never_softens(
        rules in chosen_rules(), evidence in evidence(), low in 0.0..=1.0f64, high in 0.0..=1.0f64,
    ) {
        let (low, high) = (low.min(high), low.max(high));
        let policy = policy(&rules);
        let with = |value| {
            let score = Score { raw: Some(value), calibrated: Some(value), model: "m".to_owned(), state: ScoreState::Ok, view: View::Text };
            let mut evidence = evidence.clone();
            evidence.scores.insert("hate".to_owned(), score);
            decide(&policy, &evidence)
        };
        let (softer, harder) = (with(low), with(high));
        prop_assert!(harder.decision >= softer.decision, "{softer:?} then {harder:?}");
        prop_assert!(urgency(&policy, &harder) <= urgency(&policy, &softer), "{softer:?} then {harder:?}");
    }

    /// Law 4: what is required and unavailable is never approved, and never hides by itself.
    #[test]
    fn unavailable_evidence_means_review(rules in chosen_rules(), evidence in evidence()) {
        let policy = policy(&rules);
        let judged = decide(&policy, &evidence);
        let score = evidence.scores.get("hate");
        let skipped = score.is_some_and(|score| score.state == ScoreState::Skipped);
        let failed = !skipped && score.and_then(Score::value).is_none();
        if failed && evidence.conflict != Some(Decision::Hide) {
            prop_assert_eq!(judged.decision, Decision::Review);
        }
        if failed || evidence.content_unread || evidence.media == Availability::Unavailable || evidence.verdict_before == VerdictBefore::Unavailable {
            prop_assert!(judged.decision >= Decision::Review);
            prop_assert!(!judged.degraded.is_empty());
        }
        if evidence.verdict_before == VerdictBefore::Yes {
            prop_assert!(judged.decision >= Decision::Review);
        }
    }

    /// Law 4: a rule that cannot read its evidence counts as hard as one that fires, up to review.
    #[test]
    fn losing_features_never_approves(rules in chosen_rules(), evidence in evidence()) {
        let policy = policy(&rules);
        let mut blind = evidence.clone();
        for name in schema().features.keys() {
            blind.features.insert(name.clone(), FeatureState::Unavailable);
        }
        let ignoring = policy.rules.iter().any(|rule| rule.if_unavailable == domain::policy::IfUnavailable::Ignore);
        let (seeing, blinded) = (decide(&policy, &evidence), decide(&policy, &blind));
        if !ignoring && seeing.decision != Decision::Approve {
            prop_assert!(blinded.decision != Decision::Approve, "{seeing:?} then {blinded:?}");
        }
    }

    /// Law 7: deciding again on a record's evidence gives the same decision, score and reasons, through JSON too.
    #[test]
    fn a_record_replays(rules in chosen_rules(), evidence in evidence()) {
        let policy = policy(&rules);
        let mut evidence = evidence;
        // NaN has no JSON; shells turn it into `unavailable` before a record is made.
        for score in evidence.scores.values_mut() {
            if score.calibrated.is_none_or(f64::is_nan) {
                *score = Score::unavailable("m@1");
            }
        }
        evidence.features.retain(|_, state| !matches!(state, FeatureState::Present(FeatureValue::Float(_))));
        let judged = decide(&policy, &evidence);
        let record = record(&policy, &evidence, judged.clone());
        let json = serde_json::to_string(&record).unwrap();
        let read: DecisionRecord = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&read, &record);
        prop_assert_eq!(read.evidence(), evidence);
        prop_assert_eq!(decide(&policy, &read.evidence()), judged);
        prop_assert_eq!(read.owed(), record.owed());
    }
}

fn record(policy: &Policy, evidence: &Evidence, judgement: Judgement) -> DecisionRecord {
    let post = PostId::try_from("p-1".to_owned()).unwrap();
    let now = Timestamp::from_millis(1_795_000_000_000);
    let model = ModelRef { name: "m".to_owned(), version: "1".to_owned(), sha256: sha256_hex(b"m") };
    let setting = Setting {
        model,
        feature_set: "core".to_owned(),
        feature_sha256: sha256_hex(b"f"),
        received_at: now,
        decided_at: now,
    };
    let mut record = DecisionRecord::new((post, None), evidence, policy, judgement, setting);
    let blocked = ImageRecord { blocked: Some("entry".to_owned()), ..ImageRecord::default() };
    if evidence.content_unread {
        record.content.unread = vec!["text".to_owned()];
    }
    record.images = vec![blocked; usize::try_from(evidence.blocked_media).unwrap()];
    let consulted = |state| Consulted { by: Adviser::Endpoint, state, why: None, model: None };
    record.second_opinion = match evidence.second_opinion {
        Availability::None => None,
        Availability::Available => Some(consulted(ScoreState::Ok)),
        Availability::Unavailable => Some(consulted(ScoreState::Unavailable)),
    };
    record
}

proptest! {
    /// Whatever the evidence says: what was to be looked at again and was not goes to a person, and is not hidden.
    #[test]
    fn without_the_second_opinion_asked_for_nothing_is_removed(rules in chosen_rules(), evidence in evidence()) {
        let policy = policy(&rules);
        let without = Evidence { second_opinion: Availability::Unavailable, conflict: None, ..evidence };
        let judged = decide(&policy, &without);
        prop_assert_eq!(judged.decision, Decision::Review);
        prop_assert!(judged.lane.is_some());
        prop_assert!(judged.degraded.contains(&"second_opinion".to_owned()));
        prop_assert!(judged.reasons.iter().any(|reason| reason.rule == "unavailable:second_opinion"));
    }
}

proptest! {
    /// Law 14: under a policy that nobody asked for nothing is approved, and nothing is hidden that was not hidden before.
    #[test]
    fn an_assumed_policy_decides_nothing_but_review(rules in chosen_rules(), evidence in evidence()) {
        let judged = decide(&policy(&rules), &Evidence { policy_assumed: true, ..evidence.clone() });
        let expected = if evidence.conflict == Some(Decision::Hide) { Decision::Hide } else { Decision::Review };
        prop_assert_eq!(judged.decision, expected);
        prop_assert!(judged.reasons.iter().any(|reason| reason.rule == "unavailable:policy"));
        prop_assert!(judged.degraded.contains(&"policy".to_owned()));
    }

    /// Law 11: other content under the same key is never approved, and never milder than what was decided before.
    #[test]
    fn a_conflict_is_not_milder(rules in chosen_rules(), evidence in evidence(), before in prop_oneof![Just(Decision::Approve), Just(Decision::Review), Just(Decision::Hide)]) {
        let policy = policy(&rules);
        let alone = decide(&policy, &Evidence { conflict: None, ..evidence.clone() });
        let judged = decide(&policy, &Evidence { conflict: Some(before), ..evidence });
        prop_assert_eq!(judged.decision, alone.decision.max(before).max(Decision::Review));
        prop_assert!(judged.reasons.iter().any(|reason| reason.rule == "content-conflict"));
    }
}

/// The record's own table: what each decision owes, and that its ids are functions of the decision.
#[test]
fn what_is_owed() {
    let policy = policy(&RULES);
    let owed = |value: f64, revision: u64, by: Option<DecidedBy>| {
        let mut evidence = Evidence::of(Revision::try_from(revision).unwrap(), PostFacts::default());
        let score = Score {
            raw: Some(value),
            calibrated: Some(value),
            model: "m".to_owned(),
            state: ScoreState::Ok,
            view: View::Text,
        };
        evidence.scores.insert("hate".to_owned(), score);
        for name in schema().features.keys() {
            evidence.features.insert(name.clone(), FeatureState::Missing);
        }
        evidence.signals = ["slurs", "codes"].map(|bank| (bank.to_owned(), Signal::default())).into();
        evidence.post.media_count = 5;
        let mut record = record(&policy, &evidence, decide(&policy, &evidence));
        if let Some(by) = by {
            record.decided_by = by;
        }
        let id = record.decision_id.clone();
        let owed = record.owed();
        assert_eq!(owed, record.owed());
        (owed.task.map(|t| t.task_id.replace(&id, "ID")), owed.action.map(|a| a.action_id.replace(&id, "ID")))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(owed(0.1, 1, None), (None, None));
    assert_eq!(owed(0.5, 1, None), (some("ID-task"), None));
    assert_eq!(owed(0.9, 1, None), (some("ID-task"), some("ID-1-hide")));
    assert_eq!(owed(0.1, 2, None), (None, some("ID-1-publish")));
    assert_eq!(owed(0.5, 2, None), (some("ID-task"), some("ID-1-publish")));
    assert_eq!(owed(0.9, 1, Some(DecidedBy::Human)), (None, None));
}
