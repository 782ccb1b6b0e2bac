//! Emit: what the decisions that stand owe to reviewers and to the platform. Their ids come from the decision, so a message delivered
//! again sends the same ids again.

use crate::App;
use crate::work::{State, Work};
use runtime::planted::planted;
use service::{Outbox, Trouble};

/// Sends what every stored decision owes; a decision is done once everything is sent (law 1).
pub(crate) async fn emit(app: &App, work: &mut Work) {
    let (mut tasks, mut actions) = (Outbox::default(), Outbox::default());
    for (place, item) in work.items.iter().enumerate() {
        if let State::Decided { record, stored: true, .. } = &item.state {
            let owed = record.owed();
            if !planted("task-of-the-asked-is-forgotten") {
                tasks.add(place, owed.task.as_ref());
            }
            actions.add(place, owed.action.as_ref());
        }
    }
    let by = work.deadlines.emit;
    let (tasks, actions) = tokio::join!(tasks.send(app.tasks.as_ref(), by), actions.send(app.actions.as_ref(), by));
    work.tasks_sent = tasks.iter().filter(|(_, answer)| answer.is_ok()).count();
    work.actions_sent = actions.iter().filter(|(_, answer)| answer.is_ok()).count();
    for (place, answer) in tasks.into_iter().chain(actions) {
        if let (Some(item), Err(error)) = (work.items.get_mut(place), answer)
            && !planted("acknowledge-before-send")
        {
            item.state = State::Trouble(Trouble::Retry(error));
        }
    }
    let now_ms = work.invocation.now_ms();
    for item in &mut work.items {
        if let State::Decided { record, stored: true, new } = &item.state {
            if *new {
                work.latencies_ms.push(now_ms.saturating_sub(record.received_at.millis()));
            }
            item.state = State::Done { record: record.clone(), new: *new };
        }
    }
}
