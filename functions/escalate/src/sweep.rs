//! Sweep: a provisional decision owes no task until it is decided again, so one whose escalation is lost would be a review that nobody
//! gets. A schedule has such decisions looked for, and each is settled without a second opinion.
//!
//! A sweep decides nothing itself: it sends a message about each to this function's own queue, and such a message is acknowledged like any
//! other, after its decision is stored and what it owes is sent. So any number of sweeps may run, and end, at any time.

use crate::App;
use crate::work::{State, Work};
use domain::{PostId, Revision, Timestamp};
use runtime::planted::planted;
use serde::{Deserialize, Serialize};
use service::{Outbox, Trouble};
use store::StoreError;

/// A decision that is provisional for longer waits for nothing that still comes; twice what the policy gives, where that is more.
const OVERDUE_MS: i64 = 600_000;
/// A sweep sends messages about so many; the next one, minutes later, about those that are left.
const MOST: usize = 400;
/// No order is longer, its id escaped.
const MAX_ORDER_BYTES: usize = 4_096;

/// A message to this function that is about no content.
#[derive(Serialize, Deserialize)]
#[serde(tag = "schema")]
pub(crate) enum Order {
    /// From the schedule: look for provisional decisions that are overdue.
    #[serde(rename = "sweep/1")]
    Sweep,
    /// From a sweep: decide this without a second opinion.
    #[serde(rename = "settle/1")]
    Settle {
        /// The post.
        post_id: PostId,
        /// Which version of it.
        revision: Revision,
    },
}

impl Order {
    /// Reads the body of a message; `None` where it is something else.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().filter(|_| body.len() <= MAX_ORDER_BYTES)
    }
}

/// Looks once for all sweeps of a batch, and sends a message about each decision that is overdue.
pub(crate) async fn sweep(app: &App, work: &mut Work) {
    if !work.items.iter().any(|item| matches!(item.state, State::Sweep)) {
        return;
    }
    let swept = overdue(app, work).await;
    let mut first = true;
    for item in work.items.iter_mut().filter(|item| matches!(item.state, State::Sweep)) {
        item.state = match &swept {
            Ok(found) => State::Swept { overdue: if std::mem::take(&mut first) { *found } else { 0 } },
            Err(error) if error.retryable => State::Unswept(error.clone()),
            Err(error) => State::Trouble(Trouble::Retry(error.clone())),
        };
    }
}

async fn overdue(app: &App, work: &Work) -> Result<usize, StoreError> {
    if planted("no-sweep") {
        return Ok(0);
    }
    let due_ms = app.judge.policy.second_opinion.as_ref().map_or(0, |wanted| i64::from(wanted.due_seconds) * 1_000);
    let before = Timestamp::from_millis(work.now().millis() - OVERDUE_MS.max(2 * due_ms));
    let found = app.decisions.overdue(before, MOST, work.deadlines.load).await?;
    let mut orders = Outbox::default();
    for (place, record) in found.iter().enumerate() {
        orders.add(place, Some(&Order::Settle { post_id: record.post_id.clone(), revision: record.revision }));
    }
    let sent = orders.send(app.escalations.as_ref(), work.deadlines.emit).await;
    sent.into_iter().try_for_each(|(_, answer)| answer)?;
    Ok(found.len())
}
