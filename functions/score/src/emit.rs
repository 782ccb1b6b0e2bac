//! Emit: what stored decisions owe to reviewers and to the platform. Their ids come from the decision, so a message
//! delivered again sends the same ids again.

use crate::App;
use crate::work::{State, Trouble, Work};
use domain::Escalation;
use runtime::planted::planted;
use service::Outbox;

/// Sends what every stored decision owes; a decision is done once everything is sent (law 1).
pub(crate) async fn emit(app: &App, work: &mut Work) {
    let (mut tasks, mut actions, mut escalations) = (Outbox::default(), Outbox::default(), Outbox::default());
    let mut posts = Outbox::default();
    for (place, item) in work.items.iter().enumerate() {
        if let State::Split(bodies) = &item.state {
            bodies.iter().for_each(|body| posts.add_body(place, body.clone()));
        }
        if let State::Stored { post, record, .. } = &item.state {
            // What a second opinion has decided is owed by the function that asked for it; what settles a conflict is owed here.
            if record.attempt > 1 && record.content.conflict.is_none() {
                continue;
            }
            let mut owed = record.owed();
            if let (Some(task), true) = (&mut owed.task, planted("message-id-as-key")) {
                // As ids of messages are, it is another one for every delivery.
                task.task_id = format!("{}-{}-task", work.invocation.deadline_ms, item.message);
            }
            tasks.add(place, owed.task.as_ref());
            actions.add(place, owed.action.as_ref());
            if owed.second_opinion {
                let escalation = Escalation { post: post.as_ref().clone(), received_at: record.received_at };
                escalations.add_body(place, escalation.to_body());
            }
        }
    }
    let deadline = work.deadlines.emit;
    let (tasks, actions, escalations, posts) = tokio::join!(
        tasks.send(app.tasks.as_ref(), deadline),
        actions.send(app.actions.as_ref(), deadline),
        escalations.send(app.escalations.as_ref(), deadline),
        posts.send(app.posts.as_ref(), deadline)
    );
    work.tasks_sent += tasks.iter().filter(|(_, answer)| answer.is_ok()).count();
    work.actions_sent += actions.iter().filter(|(_, answer)| answer.is_ok()).count();
    work.escalations_sent += escalations.iter().filter(|(_, answer)| answer.is_ok()).count();
    for (place, answer) in tasks.into_iter().chain(actions).chain(escalations).chain(posts) {
        if let (Some(item), Err(error)) = (work.items.get_mut(place), answer)
            && !planted("acknowledge-before-send")
        {
            item.state = State::Trouble(Trouble::Retry(error));
        }
    }
    let now_ms = work.invocation.now_ms();
    for item in &mut work.items {
        item.state = match std::mem::replace(&mut item.state, State::PutBack) {
            State::Stored { record, new, .. } => {
                if new {
                    work.latencies_ms.push(now_ms.saturating_sub(record.received_at.millis()));
                }
                State::Done { record, new }
            }
            State::Split(_) => State::PutBack,
            other => other,
        };
    }
}
