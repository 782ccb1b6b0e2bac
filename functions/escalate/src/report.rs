//! Report: which messages are to be delivered again, and one line of metrics for the batch.

use crate::App;
use crate::work::{State, Work};
use domain::ScoreState;
use domain::policy::Decision;
use runtime::planted::planted;
use runtime::{BatchResponse, SqsBatch, telemetry};
use service::Trouble;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

/// Writes the batch's line and gives Lambda its answer.
pub(crate) fn report(app: &App, batch: &SqsBatch, work: &Work) -> BatchResponse {
    let failed: BTreeSet<usize> =
        work.items.iter().enumerate().filter(|(_, item)| !settled(work, &item.state)).map(|(place, _)| place).collect();
    metrics(app, work, failed.len()).emit();
    BatchResponse::deliver_again(
        batch.messages.iter().enumerate().filter(|(place, _)| failed.contains(place)).map(|(_, message)| message),
    )
}

/// Whether nothing is owed any more. A repeat shares the fate of the first, except in quarantine: the first one's bytes are kept there,
/// and the repeat's may be others.
fn settled(work: &Work, state: &State) -> bool {
    match state {
        State::Done { .. } | State::Quarantined { .. } | State::Gone => true,
        State::Repeats(_) if planted("repeat-always-settled") => true,
        State::Repeats(first) => {
            work.items.get(*first).is_some_and(|first| matches!(first.state, State::Done { .. } | State::Gone))
        }
        State::Read { .. } | State::Loaded { .. } | State::Decided { .. } | State::Trouble(_) => false,
    }
}

fn metrics(app: &App, work: &Work, failed: usize) -> telemetry::Metrics {
    let mut metrics = telemetry::Metrics::new(&app.config.stage, "escalate");
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut without: BTreeMap<String, usize> = BTreeMap::new();
    let mut images: BTreeMap<String, usize> = BTreeMap::new();
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut errors: BTreeSet<String> = BTreeSet::new();
    let (mut latencies, mut went_without) = (Vec::new(), Vec::new());
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
                latencies.push(record.decided_at.millis().saturating_sub(record.received_at.millis()));
            }
            State::Done { new: false, .. } | State::Repeats(_) => count("PostsRepeated"),
            State::Gone => count("PostsGone"),
            State::Quarantined { kind } => {
                count("PostsQuarantined");
                *kinds.entry(kind).or_default() += 1;
            }
            State::Trouble(Trouble::Retry(error)) => _ = errors.insert(error.to_string()),
            State::Trouble(_) | State::Read { .. } | State::Loaded { .. } | State::Decided { .. } => {}
        }
    }
    for (name, number) in counts {
        metrics.count(name, number);
    }
    metrics.share("PostsWithoutSecondOpinion", &went_without);
    let open = app.breaker.lock().unwrap_or_else(PoisonError::into_inner).is_open();
    metrics.count("BreakerOpen", usize::from(open));
    metrics.count("MessagesFailed", failed);
    metrics.count("TasksSent", work.tasks_sent);
    metrics.count("ActionsSent", work.actions_sent);
    metrics.count("RegistryFallback", usize::from(!app.judge.degraded.is_empty()));
    metrics.milliseconds("DecisionLatency", &latencies);
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
