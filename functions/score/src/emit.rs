//! Emit: what stored decisions owe to reviewers and to the platform. Their ids come from the decision, so a message
//! delivered again sends the same ids again.

use crate::App;
use crate::work::{State, Trouble, Work};
use runtime::planted::planted;
use serde::Serialize;
use store::{Message, Queue, StoreError};

/// Sends what every stored decision owes; a decision is done once everything is sent (law 1).
pub(crate) async fn emit(app: &App, work: &mut Work) {
    let (mut tasks, mut actions) = (Outbox::default(), Outbox::default());
    for (place, item) in work.items.iter().enumerate() {
        if let State::Decided { record, stored: true, .. } = &item.state {
            let mut owed = record.owed();
            if let (Some(task), true) = (&mut owed.task, planted("message-id-as-key")) {
                // As ids of messages are, it is another one for every delivery.
                task.task_id = format!("{}-{}-task", work.invocation.deadline_ms, item.message);
            }
            tasks.add(place, owed.task.as_ref());
            actions.add(place, owed.action.as_ref());
        }
    }
    let deadline = work.deadlines.emit;
    let (tasks, actions) =
        tokio::join!(tasks.send(app.tasks.as_ref(), deadline), actions.send(app.actions.as_ref(), deadline));
    work.tasks_sent = tasks.iter().filter(|(_, answer)| answer.is_ok()).count();
    work.actions_sent = actions.iter().filter(|(_, answer)| answer.is_ok()).count();
    for (place, answer) in tasks.into_iter().chain(actions) {
        if let (Some(item), Err(error)) = (work.items.get_mut(place), answer)
            && !planted("acknowledge-before-send")
        {
            item.state = State::Trouble(Trouble::Retry(error));
        }
    }
    for item in &mut work.items {
        if let State::Decided { record, stored: true, new } = &item.state {
            item.state = State::Done { record: record.clone(), new: *new };
        }
    }
}

/// Messages for one queue, and which item each belongs to.
#[derive(Default)]
struct Outbox {
    places: Vec<usize>,
    messages: Vec<Message>,
    unwritable: Vec<(usize, Result<(), StoreError>)>,
}

impl Outbox {
    fn add(&mut self, place: usize, message: Option<&impl Serialize>) {
        let Some(message) = message else { return };
        match serde_json::to_string(message) {
            Ok(body) => {
                self.places.push(place);
                self.messages.push(Message { body });
            }
            Err(_) => self.unwritable.push((place, Err(StoreError::permanent("writing a message", "not JSON")))),
        }
    }

    async fn send(self, queue: &dyn Queue, deadline: store::Deadline) -> Vec<(usize, Result<(), StoreError>)> {
        let answers = if self.messages.is_empty() { Vec::new() } else { queue.send(&self.messages, deadline).await };
        // INVARIANT (law 1): what has no answer is not sent.
        let unanswered = std::iter::repeat_with(|| Err(StoreError::transient("sending messages", "no answer")));
        self.places.into_iter().zip(answers.into_iter().chain(unanswered)).chain(self.unwritable).collect()
    }
}
