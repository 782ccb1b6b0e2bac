//! What is owed, on its way to a queue.

use serde::Serialize;
use store::{Deadline, Message, Queue, StoreError};

/// Messages for one queue, and which item of an invocation each belongs to.
#[derive(Default)]
pub struct Outbox {
    places: Vec<usize>,
    messages: Vec<Message>,
    unwritable: Vec<(usize, Result<(), StoreError>)>,
}

impl Outbox {
    /// Adds a message in JSON of the item at `place`, where it owes one.
    pub fn add(&mut self, place: usize, message: Option<&impl Serialize>) {
        let Some(message) = message else { return };
        match serde_json::to_string(message) {
            // In ASCII alone, so that no queue can refuse it for a character.
            Ok(body) => self.add_body(place, domain::json::ascii(&body)),
            Err(_) => self.unwritable.push((place, Err(StoreError::permanent("writing a message", "not JSON")))),
        }
    }

    /// Adds a message of the item at `place`.
    pub fn add_body(&mut self, place: usize, body: String) {
        self.places.push(place);
        self.messages.push(Message { body });
    }

    /// Sends everything; one answer a message, with the place of its item.
    pub async fn send(self, queue: &dyn Queue, deadline: Deadline) -> Vec<(usize, Result<(), StoreError>)> {
        let answers = if self.messages.is_empty() { Vec::new() } else { queue.send(&self.messages, deadline).await };
        // INVARIANT (law 1): what has no answer is not sent.
        let unanswered = std::iter::repeat_with(|| Err(StoreError::transient("sending messages", "no answer")));
        self.places.into_iter().zip(answers.into_iter().chain(unanswered)).chain(self.unwritable).collect()
    }
}
