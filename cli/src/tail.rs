//! `moderato tail`: the messages of a queue, or what is in quarantine. Nothing is taken away.

use crate::Failure;
use crate::stack::{Stack, soon};
use crate::terminal::{json_line, line, say, tell};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::ExitCode;
use store::{ObjectStore, SqsQueue};

/// Shows the messages of a queue, or what is in quarantine, as JSON Lines.
#[derive(Debug, Args)]
pub struct TailArgs {
    /// What to look at.
    what: What,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Review tasks.
    Tasks,
    /// Action requests.
    Actions,
    /// Messages that could not be decided.
    Quarantine,
    /// Posts that wait for a second opinion.
    Escalations,
    /// The dead-letter queue of posts.
    Dlq,
    /// The dead-letter queue of posts that waited for a second opinion.
    EscalationsDlq,
}

/// Long enough to read some thousands of messages; they are given back at the end.
const HIDDEN_S: i32 = 60;

/// Runs the command.
pub async fn run(args: &TailArgs, stack: &Stack) -> Result<ExitCode, Failure> {
    match args.what {
        What::Tasks => messages(&stack.queue("TASKS_QUEUE_URL")?, "task_id", args.limit).await,
        What::Actions => messages(&stack.queue("ACTIONS_QUEUE_URL")?, "action_id", args.limit).await,
        What::Escalations => messages(&stack.queue("ESCALATIONS_QUEUE_URL")?, "", args.limit).await,
        What::Dlq => messages(&stack.queue("POSTS_DLQ_URL")?, "", args.limit).await,
        What::EscalationsDlq => messages(&stack.queue("ESCALATIONS_DLQ_URL")?, "", args.limit).await,
        What::Quarantine => quarantine(stack, args.limit).await,
    }
}

/// Prints messages, each id once: a consumer takes a repeat for the same task.
async fn messages(queue: &SqsQueue, id: &str, limit: usize) -> Result<ExitCode, Failure> {
    let (mut seen, mut receipts, mut printed, mut repeats) = (BTreeSet::new(), Vec::new(), 0, 0);
    while printed < limit {
        let received = queue.receive(HIDDEN_S, soon()).await?;
        if received.is_empty() {
            break;
        }
        for message in received {
            receipts.push(message.receipt);
            let body: Option<Value> = serde_json::from_str(&message.body).ok();
            let name = body.as_ref().and_then(|body| body.get(id)).and_then(Value::as_str);
            if name.is_some_and(|name| !seen.insert(name.to_owned())) {
                repeats += 1;
            } else if printed < limit {
                say!("{}", json_line(&message.body).unwrap_or_else(|| line(&message.body)));
                printed += 1;
            }
        }
    }
    for receipt in &receipts {
        queue.release(receipt, soon()).await?;
    }
    let depth = queue.depth(soon()).await?;
    tell!("{printed} shown, {repeats} repeats left out; the queue holds about {}", depth.visible + depth.in_flight);
    Ok(ExitCode::SUCCESS)
}

async fn quarantine(stack: &Stack, limit: usize) -> Result<ExitCode, Failure> {
    let (objects, bucket) = (stack.objects(), stack.bucket()?);
    let kept = objects.list(bucket, "quarantine/", soon()).await?;
    for info in kept.iter().take(limit) {
        let object = objects.get(bucket, &info.key, 16 * 1024 * 1024, soon()).await?;
        let metadata = object.map(|object| object.metadata).unwrap_or_default();
        let sha256 = info.key.trim_start_matches("quarantine/");
        let field = |name: &str| metadata.get(name).cloned();
        say!(
            "{}",
            json!({ "sha256": sha256, "kind": field("kind"), "detail": field("detail"),
                    "received_at": field("received-at"), "bytes": info.bytes })
        );
    }
    tell!("{} in quarantine; `moderato show SHA256` prints an original", kept.len());
    Ok(ExitCode::SUCCESS)
}
