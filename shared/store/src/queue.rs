//! Queues that decisions owe messages to.

use crate::planted::planted;
use crate::{Aws, Backoff, Deadline, StoreError, aws};
use async_trait::async_trait;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use std::sync::Mutex;

/// A message to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// JSON.
    pub body: String,
}

/// Somewhere to send messages to.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sends every message at least once; answers stand in the order of `messages`.
    async fn send(&self, messages: &[Message], deadline: Deadline) -> Vec<Result<(), StoreError>>;
}

/// Entries that one `SendMessageBatch` takes.
const ENTRIES_A_CALL: usize = 10;
/// Bytes that one `SendMessageBatch` takes; bodies are counted, with room for the rest.
const BYTES_A_CALL: usize = 1_000_000;

/// An SQS queue.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl SqsQueue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(aws: &Aws, url: impl Into<String>) -> Self {
        Self { client: aws.sqs.clone(), url: url.into() }
    }

    async fn send_chunk(&self, messages: &[Message], deadline: Deadline) -> Vec<Result<(), StoreError>> {
        const DOING: &str = "sending messages";
        let mut answers = vec![Err(StoreError::transient(DOING, "not tried")); messages.len()];
        let mut open: Vec<usize> = (0..messages.len()).collect();
        let mut backoff = Backoff::until(deadline);
        while !open.is_empty() {
            let mut entries = Vec::with_capacity(open.len());
            for index in &open {
                let Some(message) = messages.get(*index) else { continue };
                // The entry's id is its place in the chunk; it means nothing outside this call.
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(&message.body);
                let Ok(entry) = entry.build() else { return answers };
                entries.push(entry);
            }
            let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send();
            let answer = match aws::call(DOING, deadline, request).await {
                Ok(answer) => answer,
                Err(error) => {
                    for index in open {
                        set(&mut answers, index, Err(error.clone()));
                    }
                    return answers;
                }
            };
            for sent in &answer.successful {
                if let Ok(index) = sent.id.parse() {
                    set(&mut answers, index, Ok(()));
                }
            }
            if planted("failed-entries-ignored") {
                return vec![Ok(()); messages.len()];
            }
            for failed in &answer.failed {
                if let Ok(index) = failed.id.parse() {
                    let error = StoreError {
                        doing: DOING,
                        code: aws::code(Some(&failed.code)),
                        retryable: !failed.sender_fault,
                    };
                    set(&mut answers, index, Err(error));
                }
            }
            open.retain(|index| matches!(answers.get(*index), Some(Err(error)) if error.retryable));
            if !open.is_empty() && !backoff.wait().await {
                break;
            }
        }
        answers
    }
}

/// A message as an operator reads it from a queue.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    /// The body.
    pub body: String,
    /// Names this delivery to [`SqsQueue::delete`] and [`SqsQueue::release`].
    pub receipt: String,
}

/// How many messages a queue holds; SQS says approximately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Waiting.
    pub visible: u64,
    /// Delivered, and neither deleted nor given back.
    pub in_flight: u64,
    /// Sent with a delay that has not passed.
    pub delayed: u64,
    /// Seconds after which a message is forgotten.
    pub kept_s: u64,
}

/// For operators: functions get their messages from Lambda.
impl SqsQueue {
    /// Receives up to ten messages that are there now, and hides them from others for `hidden_s` seconds.
    ///
    /// # Errors
    /// Where the queue could not be asked.
    pub async fn receive(&self, hidden_s: i32, deadline: Deadline) -> Result<Vec<Received>, StoreError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(10)
            .visibility_timeout(hidden_s)
            .wait_time_seconds(0)
            .send();
        let answer = aws::call("receiving messages", deadline, request).await?;
        let received = answer.messages.unwrap_or_default().into_iter();
        Ok(received
            .filter_map(|message| Some(Received { body: message.body?, receipt: message.receipt_handle? }))
            .collect())
    }

    /// Deletes a received message.
    ///
    /// # Errors
    /// Where the queue could not be asked.
    pub async fn delete(&self, receipt: &str, deadline: Deadline) -> Result<(), StoreError> {
        let request = self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send();
        aws::call("deleting a message", deadline, request).await.map(drop)
    }

    /// Gives a received message back at once.
    ///
    /// # Errors
    /// Where the queue could not be asked.
    pub async fn release(&self, receipt: &str, deadline: Deadline) -> Result<(), StoreError> {
        let request = self
            .client
            .change_message_visibility()
            .queue_url(&self.url)
            .receipt_handle(receipt)
            .visibility_timeout(0)
            .send();
        aws::call("giving a message back", deadline, request).await.map(drop)
    }

    /// How many messages the queue holds.
    ///
    /// # Errors
    /// Where the queue could not be asked.
    pub async fn depth(&self, deadline: Deadline) -> Result<Depth, StoreError> {
        let request =
            self.client.get_queue_attributes().queue_url(&self.url).attribute_names(QueueAttributeName::All).send();
        let attributes = aws::call("counting messages", deadline, request).await?.attributes.unwrap_or_default();
        let number = |name| attributes.get(&name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Depth {
            visible: number(QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
            kept_s: number(QueueAttributeName::MessageRetentionPeriod),
        })
    }
}

fn set<T>(answers: &mut [T], index: usize, answer: T) {
    if let Some(slot) = answers.get_mut(index) {
        *slot = answer;
    }
}

/// Splits messages so that each part fits one call.
fn chunks(messages: &[Message]) -> Vec<&[Message]> {
    let mut chunks = Vec::new();
    let mut rest = messages;
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fitting = rest
            .iter()
            .take(ENTRIES_A_CALL)
            .take_while(|message| {
                bytes += message.body.len();
                bytes <= BYTES_A_CALL
            })
            .count();
        let (chunk, left) = rest.split_at(fitting.max(1));
        chunks.push(chunk);
        rest = left;
    }
    chunks
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, messages: &[Message], deadline: Deadline) -> Vec<Result<(), StoreError>> {
        let sends = chunks(messages).into_iter().map(|chunk| self.send_chunk(chunk, deadline));
        futures::future::join_all(sends).await.into_iter().flatten().collect()
    }
}

/// A queue in memory that keeps whatever it was sent.
#[derive(Default)]
pub struct MemoryQueue {
    sent: Mutex<Vec<Message>>,
}

impl MemoryQueue {
    /// Everything sent so far, repeats included.
    #[must_use]
    pub fn sent(&self) -> Vec<Message> {
        self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send(&self, messages: &[Message], _deadline: Deadline) -> Vec<Result<(), StoreError>> {
        self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend_from_slice(messages);
        messages.iter().map(|_| Ok(())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_ten_messages_and_a_megabyte_and_lose_none() {
        let of = |sizes: &[usize]| -> Vec<usize> {
            let messages: Vec<_> = sizes.iter().map(|size| Message { body: "x".repeat(*size) }).collect();
            chunks(&messages).iter().map(|chunk| chunk.len()).collect()
        };
        assert_eq!(of(&[]), Vec::<usize>::new());
        assert_eq!(of(&[1; 23]), [10, 10, 3]);
        assert_eq!(of(&[400_000; 5]), [2, 2, 1]);
        assert_eq!(of(&[2_000_000, 1, 1]), [1, 2]);
    }
}
