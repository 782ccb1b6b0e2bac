//! Report: which messages are to be delivered again, whether anything can be stored and sent, and one line of metrics for the batch.

use crate::App;
use crate::work::{State, Work};
use domain::ScoreState;
use domain::policy::Decision;
use runtime::planted::planted;
use runtime::telemetry;
use service::{Outcome, Trouble};
use std::collections::{BTreeMap, BTreeSet};

/// Writes the batch's line and says what came of it.
pub(crate) fn report(app: &App, work: &Work) -> Outcome {
    let again: BTreeSet<usize> =
        work.items.iter().enumerate().filter(|(_, item)| !settled(work, &item.state)).map(|(place, _)| place).collect();
    metrics(app, work, again.len()).emit();
    let states = || work.items.iter().map(|item| &item.state);
    Outcome {
        again,
        done: states().any(|state| matches!(state, State::Done { .. } | State::Swept { .. })),
        failed: states().any(|state| matches!(state, State::Trouble(Trouble::Retry(_)))),
    }
}

/// Whether nothing is owed any more. A repeat shares the fate of the first, except in quarantine: the first one's bytes are kept there,
/// and the repeat's may be others.
fn settled(work: &Work, state: &State) -> bool {
    match state {
        State::Done { .. } | State::Quarantined { .. } | State::Gone | State::Swept { .. } => true,
        State::Repeats(_) if planted("repeat-always-settled") => true,
        State::Repeats(first) => {
            work.items.get(*first).is_some_and(|first| matches!(first.state, State::Done { .. } | State::Gone))
        }
        State::Read { .. }
        | State::Loaded { .. }
        | State::Decided { .. }
        | State::Sweep
        | State::Unswept(_)
        | State::Trouble(_) => false,
    }
}

fn metrics(app: &App, work: &Work, failed: usize) -> telemetry::Metrics {
    let mut metrics = telemetry::Metrics::new(&app.config.stage, "escalate");
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut without: BTreeMap<String, usize> = BTreeMap::new();
    let mut images: BTreeMap<String, usize> = BTreeMap::new();
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut errors: BTreeSet<String> = BTreeSet::new();
    let (mut went_without, mut found) = (Vec::new(), 0);
    let mut count = |name| *counts.entry(name).or_default() += 1;
    for item in &work.items {
        match &item.state {
            State::Done { record, new: true } => {
                count("PostsReconsidered");
                count(match record.decision {
                    Decision::Approve => "PostsApproved",
                    Decision::Review => "PostsReviewed",
                    Decision::Hide => "PostsHidden",
                });
                if record.policy.assumed {
                    count("PostsPolicyAssumed");
                }
                let missed = record.second_opinion.as_ref().filter(|one| one.state != ScoreState::Ok);
                went_without.push(missed.is_some());
                if let Some(consulted) = missed {
                    if consulted.why.as_deref() == Some("budget") {
                        count("BudgetSpent");
                    }
                    *without.entry(consulted.why.clone().unwrap_or_default()).or_default() += 1;
                }
                for image in &record.images {
                    count("ImagesAttached");
                    if let Some(error) = &image.error {
                        *images.entry(error.clone()).or_default() += 1;
                    }
                }
            }
            State::Done { new: false, .. } | State::Repeats(_) => count("PostsRepeated"),
            State::Gone => count("PostsGone"),
            State::Swept { overdue } => found += overdue,
            State::Quarantined { kind } => {
                count("PostsQuarantined");
                *kinds.entry(kind).or_default() += 1;
            }
            State::Trouble(Trouble::Retry(error)) | State::Unswept(error) => _ = errors.insert(error.to_string()),
            State::Trouble(_) | State::Read { .. } | State::Loaded { .. } | State::Decided { .. } | State::Sweep => {}
        }
    }
    for (name, number) in counts {
        metrics.count(name, number);
    }
    metrics.share("PostsWithoutSecondOpinion", &went_without);
    metrics.count("BreakerOpen", usize::from(app.breaker.is_open()));
    metrics.count("ProvisionalOverdue", found);
    metrics.count("MessagesFailed", failed);
    metrics.count("TasksSent", work.tasks_sent);
    metrics.count("ActionsSent", work.actions_sent);
    metrics.count("RegistryFallback", usize::from(!app.judge.degraded.is_empty()));
    metrics.milliseconds("DecisionLatency", &work.latencies_ms);
    metrics.milliseconds("OpinionLatency", &work.asked_ms);
    let elapsed = i64::try_from(work.deadlines.started.elapsed().as_millis()).unwrap_or(i64::MAX);
    metrics.milliseconds("BatchDuration", &[elapsed]);
    if work.invocation.cold_start {
        metrics.property("cold_start", true);
    }
    for (name, counted) in [("without.why", without), ("images.errors", images)] {
        if !counted.is_empty() {
            metrics.property(name, serde_json::json!(counted));
        }
    }
    if !kinds.is_empty() {
        metrics.property("quarantine.kinds", serde_json::json!(kinds));
    }
    if !errors.is_empty() {
        metrics.property("errors", serde_json::json!(errors));
    }
    metrics
}
