//! Queues: everything that is answered with success has been sent.

use crate::{fresh, soon};
use store::{MemoryQueue, Message, Queue};

/// 23 messages, three of which are so big that a call takes two of them.
pub async fn sends_everything(queue: &dyn Queue) -> Vec<String> {
    let name = fresh("message");
    let bodies: Vec<String> = (0..23)
        .map(|n| match n {
            4 | 5 | 17 => format!("{name} {n} {}", "x".repeat(400_000)),
            _ => format!("{name} {n} \"ünïcödé\" 🏳️‍🌈 \\ \n <&>"),
        })
        .collect();
    let messages: Vec<_> = bodies.iter().map(|body| Message { body: body.clone() }).collect();
    assert_eq!(queue.send(&messages, soon()).await, vec![Ok(()); 23]);
    assert_eq!(queue.send(&[], soon()).await, Vec::new());
    bodies
}

#[tokio::test]
async fn a_queue_in_memory() {
    let queue = MemoryQueue::default();
    let bodies = sends_everything(&queue).await;
    assert_eq!(queue.sent().into_iter().map(|message| message.body).collect::<Vec<_>>(), bodies);
}
