//! Report: which messages are to be delivered again, whether anything can be stored and sent, and one line of metrics for the batch.

use crate::App;
use crate::work::{Item, State, Trouble, Work};
use domain::DecidedBy;
use domain::policy::Decision;
use runtime::planted::planted;
use runtime::telemetry;
use service::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// Writes the batch's line and says what came of it.
pub(crate) fn report(app: &App, work: &Work) -> Outcome {
    let again: BTreeSet<usize> =
        work.items.iter().filter(|item| !settled(work, item)).map(|item| item.message).collect();
    metrics(app, work, again.len()).emit();
    let states = || work.items.iter().map(|item| &item.state);
    Outcome {
        again,
        done: states().any(|state| matches!(state, State::Done { .. } | State::PutBack)),
        failed: states().any(|state| matches!(state, State::Trouble(Trouble::Retry(_)))),
    }
}

/// Whether nothing is owed any more: stored and sent, and kept in quarantine where it has to be. A repeat shares the fate of the first.
fn settled(work: &Work, item: &Item) -> bool {
    match &item.state {
        State::Done { .. } => item.reject.is_none(),
        State::Quarantined | State::PutBack | State::Erased => true,
        // It may have been sent after what it repeats, which was erased: then it is looked at by itself.
        State::Repeats(first) if is_erased(work, *first) => false,
        State::Repeats(_) if planted("repeat-always-settled") => true,
        State::Repeats(first) => work.items.get(*first).is_some_and(|first| settled(work, first)),
        State::Loaded(_) | State::Decided { .. } | State::Stored { .. } | State::Split(_) | State::Trouble(_) => false,
    }
}

fn is_erased(work: &Work, place: usize) -> bool {
    work.items.get(place).is_some_and(|item| matches!(item.state, State::Erased))
}

fn metrics(app: &App, work: &Work, failed: usize) -> telemetry::Metrics {
    let mut metrics = telemetry::Metrics::new(&app.config.stage, "score");
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    let (mut approved, mut reviewed, mut hidden, mut fallback) = (0, 0, 0, 0);
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut errors: BTreeSet<String> = BTreeSet::new();
    let mut count = |name| *counts.entry(name).or_default() += 1;
    for item in &work.items {
        match &item.state {
            State::Done { record, new: true } => {
                *match record.decision {
                    Decision::Approve => &mut approved,
                    Decision::Review => &mut reviewed,
                    Decision::Hide => &mut hidden,
                } += 1;
                fallback += usize::from(record.decided_by == DecidedBy::Fallback);
                if record.policy.assumed {
                    count("PostsPolicyAssumed");
                }
            }
            State::Done { new: false, .. } | State::Repeats(_) => count("PostsRepeated"),
            State::PutBack => count("MessagesSplit"),
            State::Erased => count("PostsErased"),
            State::Trouble(Trouble::Retry(error)) => {
                errors.insert(error.to_string());
            }
            State::Quarantined
            | State::Trouble(_)
            | State::Loaded(_)
            | State::Decided { .. }
            | State::Stored { .. }
            | State::Split(_) => {}
        }
    }
    for kind in &work.kept {
        *kinds.entry(kind).or_default() += 1;
    }
    // All four with every batch that decides: alarms watch what share of the posts each is.
    if approved + reviewed + hidden > 0 {
        metrics.part("PostsApproved", approved);
        metrics.part("PostsReviewed", reviewed);
        metrics.part("PostsHidden", hidden);
        metrics.part("PostsFallback", fallback);
    }
    metrics.count("PostsQuarantined", work.kept.len());
    metrics.count("PostsInConflict", work.conflicts);
    for (name, number) in counts {
        metrics.count(name, number);
    }
    metrics.count("MessagesFailed", failed);
    metrics.count("TasksSent", work.tasks_sent);
    metrics.count("ActionsSent", work.actions_sent);
    metrics.count("EscalationsSent", work.escalations_sent);
    metrics.count("RegistryFallback", usize::from(!app.judge.degraded.is_empty()));
    metrics.milliseconds("DecisionLatency", &work.latencies_ms);
    let elapsed = i64::try_from(work.deadlines.started.elapsed().as_millis()).unwrap_or(i64::MAX);
    metrics.milliseconds("BatchDuration", &[elapsed]);
    if work.invocation.cold_start {
        metrics.property("cold_start", true);
    }
    if !kinds.is_empty() {
        metrics.property("quarantine.kinds", serde_json::json!(kinds));
    }
    if !errors.is_empty() {
        metrics.property("errors", serde_json::json!(errors));
    }
    metrics
}
