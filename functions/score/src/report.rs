//! Report: which messages are to be delivered again, whether anything can be stored and sent, and one line of metrics for the batch.

use crate::App;
use crate::work::{State, Trouble, Work};
use domain::DecidedBy;
use domain::policy::Decision;
use runtime::planted::planted;
use runtime::telemetry;
use service::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// Writes the batch's line and says what came of it.
pub(crate) fn report(app: &App, work: &Work) -> Outcome {
    let again: BTreeSet<usize> =
        work.items.iter().filter(|item| !settled(work, &item.state)).map(|item| item.message).collect();
    metrics(app, work, again.len()).emit();
    let states = || work.items.iter().map(|item| &item.state);
    Outcome {
        again,
        done: states().any(|state| matches!(state, State::Done { .. })),
        failed: states().any(|state| matches!(state, State::Trouble(Trouble::Retry(_)))),
    }
}

/// Whether nothing is owed any more: stored and sent, or kept in quarantine. A repeat shares the fate of the first,
/// except in quarantine: the first one's bytes are kept there, and the repeat's may be others.
fn settled(work: &Work, state: &State) -> bool {
    match state {
        State::Done { .. } | State::Quarantined { .. } => true,
        State::Repeats(_) if planted("repeat-always-settled") => true,
        State::Repeats(first) => work.items.get(*first).is_some_and(|first| matches!(first.state, State::Done { .. })),
        State::Loaded { .. } | State::Decided { .. } | State::Trouble(_) => false,
    }
}

fn metrics(app: &App, work: &Work, failed: usize) -> telemetry::Metrics {
    let mut metrics = telemetry::Metrics::new(&app.config.stage, "score");
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut latencies = Vec::new();
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut errors: BTreeSet<String> = BTreeSet::new();
    let mut count = |name| *counts.entry(name).or_default() += 1;
    for item in &work.items {
        match &item.state {
            State::Done { record, new: true } => {
                count(match record.decision {
                    Decision::Approve => "PostsApproved",
                    Decision::Review => "PostsReviewed",
                    Decision::Hide => "PostsHidden",
                });
                if record.decided_by == DecidedBy::Fallback {
                    count("PostsFallback");
                }
                latencies.push(record.decided_at.millis().saturating_sub(record.received_at.millis()));
            }
            State::Done { new: false, .. } | State::Repeats(_) => count("PostsRepeated"),
            State::Quarantined { kind } => {
                count("PostsQuarantined");
                *kinds.entry(kind).or_default() += 1;
            }
            State::Trouble(Trouble::Retry(error)) => {
                errors.insert(error.to_string());
            }
            State::Trouble(_) | State::Loaded { .. } | State::Decided { .. } => {}
        }
    }
    for (name, number) in counts {
        metrics.count(name, number);
    }
    metrics.count("MessagesFailed", failed);
    metrics.count("TasksSent", work.tasks_sent);
    metrics.count("ActionsSent", work.actions_sent);
    metrics.count("EscalationsSent", work.escalations_sent);
    metrics.count("RegistryFallback", usize::from(!app.judge.degraded.is_empty()));
    metrics.milliseconds("DecisionLatency", &latencies);
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
