//! What a policy file may not be, and that the checks on it bite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod common;

use common::schema;
use domain::Policy;
use domain::condition::{Condition, Held};
use domain::policy::{FALLBACK, uncovered};

#[test]
fn the_default_policy_loads_and_every_band_and_rule_decides_a_case() {
    let policy = Policy::fallback(&schema()).unwrap();
    assert!(policy.tests.len() >= 20);
    assert_eq!(uncovered(&policy), Vec::<String>::new());
}

#[test]
fn the_solved_policy_is_the_default_one_with_other_bounds() {
    let solved = include_str!("../policies/solved.yaml");
    let policy = Policy::load(solved, &schema()).unwrap();
    assert_eq!((policy.id.as_str(), uncovered(&policy)), ("solved", Vec::new()));
    let rules =
        |source: &str| source.split("\nrules:\n").nth(1).unwrap().split("\ntests:\n").next().unwrap().to_owned();
    let bounds = |policy: &Policy| policy.bands["hate"].iter().map(|band| band.from).collect::<Vec<_>>();
    let review = format!("hate: {} }}", bounds(&policy)[1]);
    assert_eq!(rules(solved).replace(&review, "hate: 0.2 }"), rules(FALLBACK));
}

#[test]
fn the_policy_with_second_opinions_adds_to_the_default_one() {
    let policy = Policy::load(include_str!("../policies/second-opinion.yaml"), &schema()).unwrap();
    assert_eq!((policy.id.as_str(), uncovered(&policy)), ("second-opinion", Vec::new()));
    let fallback = Policy::fallback(&schema()).unwrap();
    assert_eq!(policy.bands["hate"], fallback.bands["hate"]);
    assert_eq!((&policy.required, &policy.lanes), (&fallback.required, &fallback.lanes));
    assert!(fallback.second_opinion.is_none(), "whoever wants second opinions says so");
    let ids = |policy: &Policy| policy.rules.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>();
    assert!(ids(&fallback).iter().all(|id| ids(&policy).contains(id)));
}

#[test]
fn the_example_with_a_bank_loads_and_every_rule_decides_a_case() {
    let policy = Policy::load(include_str!("../policies/examples/signals.yaml"), &schema()).unwrap();
    assert_eq!(uncovered(&policy), Vec::<String>::new());
    assert_eq!(policy.signals().into_iter().collect::<Vec<_>>(), ["campaign"]);
}

#[test]
fn a_signal_stands_only_where_more_of_it_cannot_make_the_condition_fail() {
    for good in [
        "signal.a >= 1",
        "1 <= signal.a",
        "signal.a + signal.b > 2 && user.verified || post.is_reply",
        "(signal.a > 0 || signal.b > 0) && !user.verified",
    ] {
        Condition::compile(good, &schema()).expect(good);
    }
    for bad in [
        "signal.a == 1",
        "signal.a < 1",
        "!(signal.a >= 1)",
        "signal.a >= 1 ? false : true",
        "signal.a * -1 >= 0",
        "-signal.a >= -1",
        "signal.a - signal.b >= 1",
        "signal.a >= signal.b",
        "signal.a >= post.media_count",
        "(signal.a >= 1) == false",
        "signal.a in [0]",
        "signal.a % 2 >= 1",
        "int(signal.a) >= 1",
        "5 >= signal.a",
    ] {
        let error = Condition::compile(bad, &schema()).expect_err(bad).to_string();
        assert!(error.contains("signal.a") && error.contains(">= 1"), "{bad}: {error}");
    }
}

/// Plants one fault in the default policy and expects the words of the refusal.
#[track_caller]
fn refused(from: &str, to: &str, words: &str) {
    assert!(FALLBACK.contains(from), "`{from}` is not in the default policy");
    let error = Policy::load(&FALLBACK.replacen(from, to, 1), &schema()).expect_err("a planted fault must be refused");
    assert!(error.to_string().contains(words), "`{error}` does not say `{words}`");
}

#[test]
fn planted_faults_are_refused() {
    refused("schema: policy/1", "schema: policy/9", "this program reads `policy/1`");
    refused("leading_harm: hate", "leading_harm: spam", "has no bands");
    refused("decision: hide, lane: urgent", "decision: approve", "softer than");
    refused("from: 0.8", "from: 0.1", "rising");
    refused("from: 0.0", "from: 0.1", "must begin at 0");
    refused("decision: hide, lane: urgent }", "decision: hide }", "need a `lane`");
    refused("decision: hide, lane: urgent }", "decision: hide, lane: nowhere }", "not under `lanes`");
    refused(
        "decision: review, lane: standard }",
        "decision: review, lane: urgent }\n      - { id: x, from: 0.5, decision: review, lane: standard }",
        "less urgent",
    );
    refused("id: many-reports", "id: hate-high", "id of two");
    refused("priority: 2", "priority: 1", "`priority` of its own");
    refused("[score.hate, media, history]", "[score.spam]", "is not evidence");
    refused("decision: review\n    lane: elevated", "decision: approve\n    lane: elevated", "can only add");
    refused("at_least: { hate: 0.2 }", "at_least: { hate: 7 }", "from 0 to 1");
    refused("post.reports >= 5", "post.repots >= 5", "`post.repots`, which does not exist");
    refused("post.reports >= 5", "scores.hate > 0.5", "`at_least`");
    refused("post.reports >= 5", "post.reports", "int where bool");
    refused("description: >", "descriptoin: >", "cannot be read");
    refused(
        "expect: { decision: approve, reasons: [hate-low], decided_by: model }",
        "expect: { decision: hide }",
        "own tests failed",
    );
    refused("features: { reports: 5 }", "features: { repots: 5 }", "`repots` does not exist");
    let tests = "  - { name: t, expect: { decision: review } }\n".repeat(5_000);
    let rules: String = (0..11)
        .map(|n| format!("  - {{ id: r{n}, harm: hate, reason: r, when: 'true', decision: review, lane: standard }}\n"))
        .collect();
    let long = FALLBACK.replacen("rules:\n", &format!("rules:\n{rules}"), 1) + &tests;
    assert!(Policy::load(&long, &schema()).unwrap_err().to_string().contains("50000 at most"));
    let huge = format!("{FALLBACK}\n# {}", "x".repeat(300_000));
    assert!(Policy::load(&huge, &schema()).unwrap_err().to_string().contains("larger"));
}

#[test]
fn conditions_are_checked_when_they_load() {
    let refused = |source: &str| Condition::compile(source, &schema()).expect_err(source).to_string();
    assert!(refused("[1, 2].exists(x, x > 1)").contains("comprehension"));
    assert!(refused("['a'].all(x, x == post.lang)").contains("comprehension"));
    assert!(refused("has(user.verified)").contains("has"));
    assert!(refused("user.verified > 3").contains("operands of fitting types"));
    assert!(refused("user.verified && post.reports").contains("operands of fitting types"));
    assert!(refused("post.lang == 3").contains("operands of fitting types"));
    assert!(refused("user").contains("does not exist"));
    assert!(refused("post.lang.size").contains("field of a field"));
    assert!(refused("exec('x')").contains("`exec`"));
    assert!(refused("1 +").contains("not CEL"));
    assert!(refused("").contains("not CEL"));
    assert!(refused(&format!("{}true{}", "(".repeat(500), ")".repeat(500))).contains("nested"));
    assert!(refused(&format!("{}true", "!".repeat(1_500))).contains("nested"));
    assert!(refused(&format!("true{}", " || true".repeat(1_000))).contains("longer"));
    for fine in [
        "user.prior_violations >= 3 && !user.verified",
        "post.lang in ['en', 'de'] || post.surface.startsWith('pro')",
        "double(post.reports) / 2.0 > 1.5",
        "(post.is_reply ? 1 : 2) == 2",
        "post.reports in [1, 2, 3]",
        "size(post.lang) == 2 && post.media_count % 2 == 0",
    ] {
        Condition::compile(fine, &schema()).expect(fine);
    }
}

#[test]
fn an_evaluation_error_counts_as_unavailable() {
    let condition = Condition::compile("100 / post.media_count > 60", &schema()).unwrap();
    let mut evidence = domain::Evidence::of(domain::Revision::FIRST, domain::PostFacts::default());
    assert_eq!(condition.held(&evidence), Held::Unavailable(Vec::new()));
    evidence.post.media_count = 1;
    assert_eq!(condition.held(&evidence), Held::Yes);
    evidence.post.media_count = 2;
    assert_eq!(condition.held(&evidence), Held::No);
}

/// `pt` covers `pt-BR` and `PT`; of several the longest that fits.
#[test]
fn a_language_covers_its_regions() {
    let holds = |condition: &str, tag: &str| {
        let facts = domain::PostFacts { lang: tag.to_owned(), ..domain::PostFacts::default() };
        let evidence = domain::Evidence::of(domain::Revision::FIRST, facts);
        Condition::compile(condition, &schema()).unwrap().held(&evidence) == Held::Yes
    };
    for (condition, tag, expected) in [
        ("post.lang == 'pt'", "pt", true),
        ("post.lang == 'pt'", "pt-BR", true),
        ("post.lang == 'pt'", "PT", true),
        ("post.lang == 'pt-BR'", "pt-br", true),
        ("post.lang == 'pt-BR'", "pt", false),
        ("post.lang == 'pt'", "ptx", false),
        ("post.lang == 'pt'", "", false),
        ("post.lang == ''", "", true),
        ("post.lang != 'pt'", "pt-BR", false),
        ("post.lang in ['de', 'pt']", "pt-BR", true),
        ("post.lang == 'zh-Hant'", "zh-Hant-TW", true),
        ("post.lang == 'pt' || post.lang == 'pt-BR'", "pt-BR", true),
        ("post.lang.startsWith('p')", "pt-BR", true),
    ] {
        assert_eq!(holds(condition, tag), expected, "{condition} on `{tag}`");
    }
}
